"""Metrics of fills: by hand, by closed forms, and against scikit-image and torchmetrics."""

import math

import numpy as np
import pytest
import torch

from rad_core.bench.features import WEIGHTS, published_features
from rad_core.bench.scene import SceneReader, perceptual_distance
from rad_core.bench.statistics import bootstrap, frechet_distance, inception_scores, kernel_distance
from rad_core.metrics import hole_rmse, psnr, rank_correlation, rim_jump, ring_rmse, seam, ssim, texture, variation

MASK = torch.zeros(1, 1, 12, 12)
MASK[..., 4:8, 4:8] = 1
TRUTH = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_errors_are_counted_in_the_hole_alone():
    out = torch.where(MASK > 0, TRUTH + 0.1, TRUTH + 5)
    assert hole_rmse(out, TRUTH, MASK).item() == pytest.approx(0.1, rel=1e-4)
    assert psnr(out, TRUTH, MASK).item() == pytest.approx(-20 * math.log10(0.1), rel=1e-4)


def test_seam_and_texture_are_1_for_the_truth_and_know_a_step_from_a_flat_fill():
    assert seam(TRUTH, TRUTH, MASK).item() == texture(TRUTH, TRUTH, MASK).item() == 1
    step = MASK.expand(1, 3, 12, 12) * 0.3
    assert rim_jump(step, MASK).item() == pytest.approx(0.3)
    assert rim_jump(torch.zeros(1, 3, 12, 12), MASK).item() == 0
    flat = torch.where(MASK > 0, 0.5, TRUTH)
    assert texture(flat, TRUTH, MASK).item() < 0.5


def test_rank_correlation_is_spearmans():
    a = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0])
    assert rank_correlation(a, a.exp()) == pytest.approx(1) and rank_correlation(a, -a) == pytest.approx(-1)
    b = torch.tensor([2.0, 7.0, 1.0, 8.0, 3.0])  # 1 - 6 sum d^2 / (n (n^2 - 1)), ranks 3 1 4 2 5 and 2 4 1 5 3
    assert rank_correlation(a, b) == pytest.approx(1 - 6 * (1 + 9 + 9 + 9 + 4) / 120)


def test_frechet_distance_of_gaussians_is_the_closed_form():
    """|m - m'|^2 + sum (s - s')^2 for diagonal covariances; the samples are whitened to have exactly these moments."""
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)).double()
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T
    s, t = torch.tensor([1.0, 2.0, 0.5, 3.0]).double(), torch.tensor([1.5, 1.0, 0.5, 4.0]).double()
    shift = torch.tensor([0.3, 0.0, -1.0, 0.2]).double()
    expected = float(shift.square().sum() + (s - t).square().sum())
    assert frechet_distance(white * s, white * t + shift) == pytest.approx(expected, rel=1e-6)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)).double())
    assert frechet_distance(white * s @ rotation, (white * t + shift) @ rotation) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_few_is_that_of_many():
    """With fewer pictures than features another formula is used: for 7 pictures with 6 features, once two columns of zeros are added."""
    a, b = (torch.randn(7, 6, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    wide = lambda x: torch.cat([x, torch.zeros(7, 2)], 1)
    assert frechet_distance(wide(a), wide(b)) == pytest.approx(frechet_distance(a, b), rel=1e-5)


def test_perceptual_distance_is_0_for_the_same_and_grows():
    reader = SceneReader().requires_grad_(False)
    picture, noise = torch.rand(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    near, far = (perceptual_distance(reader, picture, picture + scale * noise) for scale in (0.02, 0.2))
    assert not perceptual_distance(reader, picture, picture).any() and (near < far).all() and near.shape == (2,)


def test_ssim_is_scikit_images():
    metrics = pytest.importorskip("skimage.metrics", reason="SKIPPED: scikit-image is not here (pip install .[evaluation])")
    stream = torch.Generator().manual_seed(1)
    truth = torch.rand(2, 3, 20, 17, generator=stream)
    out = (truth + 0.2 * torch.randn(truth.shape, generator=stream)).clamp(0, 1)
    mask = (torch.rand(2, 1, 20, 17, generator=stream) < 0.3).float()
    mask[:, :, 0, 0] = 1  # an edge too
    for k in range(2):
        a, b = (t[k].permute(1, 2, 0).numpy() for t in (out, truth))
        whole = metrics.structural_similarity(a, b, channel_axis=-1, data_range=1.0, full=True)[1].mean(-1)
        assert ssim(out, truth, mask)[k].item() == pytest.approx(whole[mask[k, 0].numpy() > 0].mean(), abs=1e-4)
        expected = metrics.peak_signal_noise_ratio(b, a, data_range=1.0)
        assert psnr(out, truth, torch.ones_like(mask))[k].item() == pytest.approx(expected, abs=1e-3)
    assert ssim(truth, truth, mask).tolist() == pytest.approx([1, 1])


def test_variation_by_hand():
    truth, hole = torch.zeros(1, 3, 1, 4), torch.tensor([[[[0.0, 0, 1, 1]]]])
    truth[..., 2], out = 1.0, torch.zeros(1, 3, 1, 4)
    out[..., 2], out[..., 3] = 0.5, 0.5  # the pairs 1-2 and 2-3 touch the hole: jumps 1, 1 in the truth and .5, 0 in the fill
    assert variation(out, truth, hole).item() == pytest.approx(0.25)


@pytest.fixture(scope="module")
def sets():
    """Features of two different sets of 40 pictures."""
    stream = torch.Generator().manual_seed(2)
    a = torch.randn(40, 3, generator=stream)
    return a, a * 1.5 + 0.3 + 0.1 * torch.randn(40, 3, generator=stream)


class Features(torch.nn.Module):
    """For torchmetrics: pictures (B, 3, 1, 1) are their own features."""

    num_features = 3

    def forward(self, pictures):
        return pictures.flatten(1)


def test_frechet_and_kernel_distance_are_torchmetrics(sets):
    reason = "SKIPPED: torchmetrics is not here (pip install .[evaluation])"
    fid, kid = (pytest.importorskip(f"torchmetrics.image.{name}", reason=reason) for name in ("fid", "kid"))
    a, b = sets
    as_pictures = lambda x: x[:, :, None, None].double()
    fid = fid.FrechetInceptionDistance(Features(), input_img_size=(3, 1, 1)).set_dtype(torch.float64)
    kid = kid.KernelInceptionDistance(Features(), subsets=1, subset_size=40)
    for metric in (fid, kid):
        metric.update(as_pictures(a), real=True)
        metric.update(as_pictures(b), real=False)
    assert frechet_distance(a, b) == pytest.approx(float(fid.compute()), rel=1e-4)
    assert kernel_distance(a, b) == pytest.approx(float(kid.compute()[0]), rel=1e-4)


def test_fills_that_are_the_pictures_have_a_kernel_distance_of_0():
    pictures = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).double()
    assert kernel_distance(pictures, pictures, paired=True) == pytest.approx(0, abs=1e-12) and kernel_distance(pictures, pictures) < -1


def test_inception_scores_know_the_same_and_the_different(sets):
    pytest.importorskip("sklearn", reason="SKIPPED: scikit-learn is not here (pip install .[evaluation])")
    a, _ = sets
    assert inception_scores(a + 10, a) == (0, 0)  # two sets that a classifier separates
    stream = torch.Generator().manual_seed(4)
    unpaired, paired = inception_scores(torch.randn(400, 3, generator=stream), torch.randn(400, 3, generator=stream))
    assert unpaired == pytest.approx(0.5, abs=0.08) and paired == pytest.approx(0.5, abs=0.1)


def test_bootstrap_is_that_of_a_mean():
    """The interval of a mean is known, 1.96 standard errors on each side; and it is the same every time."""
    values = torch.randn(200, generator=torch.Generator().manual_seed(5)).double()
    low, high = bootstrap(lambda chosen: float(values[chosen].mean()), 200, 4000)
    error = float(values.std(correction=0)) / 200**0.5
    assert low == pytest.approx(float(values.mean()) - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(float(values.mean()) + 1.96 * error, abs=0.15 * error)
    assert bootstrap(lambda chosen: float(values[chosen].mean()), 200, 4000) == (low, high)


@pytest.fixture()
def stand_in_weights(tmp_path, monkeypatch):
    """Files of random weights, where the libraries look for the published ones."""
    reason = "SKIPPED: torch-fidelity, torchvision or torchmetrics is not here"
    fidelity, vision, _ = (pytest.importorskip(name, reason=reason) for name in INCEPTION)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        inception = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for name, net in {"FID": inception, "LPIPS": vision.alexnet()}.items():
        for weight in (p for p in net.parameters() if p.ndim > 1):
            torch.nn.init.kaiming_normal_(weight)  # the features of so deep a network would vanish otherwise
        torch.save(net.state_dict(), tmp_path / "checkpoints" / WEIGHTS[name])
    return tmp_path / "checkpoints"


INCEPTION = ("torch_fidelity.feature_extractor_inceptionv3", "torchvision.models", "torchmetrics")


def test_published_features_are_judged_as_torchmetrics_does(stand_in_weights):
    """FID, KID and LPIPS from our feature extractor are torchmetrics' own."""
    from torchmetrics.image import FrechetInceptionDistance, KernelInceptionDistance, LearnedPerceptualImagePatchSimilarity

    extractor = published_features()
    a, b = (torch.rand(6, 3, 40, 40, generator=torch.Generator().manual_seed(k)).mul(255).round() / 255 for k in range(2))
    b[:, 0] *= 0.5
    b = (b * 255).round() / 255
    fid, kid = FrechetInceptionDistance(2048), KernelInceptionDistance(2048, subsets=1, subset_size=6)
    for metric in (fid, kid):
        for pictures, real in ((a, True), (b, False)):
            metric.update((pictures * 255).round().to(torch.uint8), real=real)
    features = extractor.features(a), extractor.features(b)
    assert features[0].shape == (6, 2048) and (features[0] - features[1]).abs().max() > 1e-3
    assert frechet_distance(*features) == pytest.approx(float(fid.compute()), rel=1e-3)
    assert kernel_distance(*features) == pytest.approx(float(kid.compute()[0]), rel=1e-3, abs=1e-6)
    torch.testing.assert_close(extractor.features(torch.cat([a] * 3))[12:], features[0], rtol=1e-3, atol=1e-4)  # batches do not matter
    lpips = LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
    each = torch.stack([lpips(a[k : k + 1], b[k : k + 1]) for k in range(6)])
    torch.testing.assert_close(extractor.distance(a, b), each.detach(), rtol=1e-4, atol=1e-6)


def test_weights_that_hold_more_than_tensors_are_refused(stand_in_weights):
    torch.save({"weights": print}, stand_in_weights / WEIGHTS["FID"])
    with pytest.raises(ValueError, match="is not the published weights file"):
        published_features()


def test_published_features_that_are_not_there_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"The published features need|needs its published weights"):
        published_features()


def test_the_ring_is_what_of_the_hole_lies_beside_known_pixels():
    truth, mask = torch.zeros(1, 3, 11, 11), torch.zeros(1, 1, 11, 11)
    mask[..., 2:9, 2:9] = 1
    out = torch.full_like(truth, 0.5)  # what is known is not counted
    out[..., 2:9, 2:9], out[..., 3:8, 3:8], out[..., 4:7, 4:7] = 0.1, 0.2, 0.4
    assert ring_rmse(out, truth, mask).item() == pytest.approx(0.1)
    assert ring_rmse(out, truth, mask, 2).item() == pytest.approx(((24 * 0.01 + 16 * 0.04) / 40) ** 0.5)


def test_ssim_of_one_window_by_hand():
    x, y = np.random.default_rng(0).random((2, 7, 7))
    mask = torch.zeros(1, 1, 7, 7)
    mask[..., 3, 3] = 1
    covariance = np.cov(x.ravel(), y.ravel())
    expected = (2 * x.mean() * y.mean() + 1e-4) * (2 * covariance[0, 1] + 9e-4)
    expected /= (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (covariance[0, 0] + covariance[1, 1] + 9e-4)
    pictures = (torch.from_numpy(one).float().expand(1, 3, 7, 7) for one in (x, y))
    assert ssim(*pictures, mask).item() == pytest.approx(expected, abs=1e-5)
