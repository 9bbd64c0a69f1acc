"""SDM: the network's size and layers, the iteration and the loss, each compared with a textbook form or a known answer."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from rad_core.masks import brush_masks
from rad_core.sdm import PRESETS, SCHEDULES, Discriminator, Generator, SDMConfig, SDMSettings, iterate
from rad_core.sdm.layers import ModulatedConv, UncertaintyAttention
from rad_core.sdm.membrane import membrane
from rad_core.sdm.network import _minibatch_deviation
from rad_core.training.sdm import uncertainty_loss

PAPER = PRESETS["paper"]
SMALL = SDMConfig((16, 16, 32), (1, 2), global_convs=1, latent=32, code=32, heads=2, image_size=16)


def test_full_width_is_the_papers():
    """74 million parameters (SDM 4.1); 192 GMAC for one pass at 512."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = Generator()
        net(torch.zeros(1, 7, 512, 512), torch.zeros(1, 1, 512, 512), torch.zeros(1, 512))
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(74.24e6, rel=1e-3)
    assert counter.get_total_flops() / 2e9 == pytest.approx(192, rel=0.02)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("activation", [False, True])
def test_modulated_convolution_is_the_textbooks(up, activation):
    torch.manual_seed(0)
    layer = ModulatedConv(5, 4, 6, up=up, activation=activation).double()
    x, style = torch.randn(3, 5, 8, 8).double(), torch.randn(3, 6).double()
    s = layer.affine(style)
    expected = []
    for k in range(3):  # a weight of its own for every picture
        weight = layer.weight * layer.weight_scale * s[k].view(1, -1, 1, 1)
        if activation:
            weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            line = torch.tensor([1.0, 3, 3, 1]).double() / 4
            upsampled = F.conv_transpose2d(x[k : k + 1], weight.transpose(0, 1), stride=2)
            expected.append(F.conv2d(F.pad(upsampled, (1, 1, 1, 1)), (line[:, None] * line).expand(4, 1, 4, 4), groups=4))
        else:
            expected.append(F.conv2d(x[k : k + 1], weight, padding=1))
    out = layer(x, style)
    assert out.shape[2:] == ((16, 16) if up else (8, 8))
    expected = torch.cat(expected)
    if activation:
        expected = F.leaky_relu(expected, 0.2) * 2**0.5
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-8)


def test_attention_is_softmax_with_a_bias_for_every_key():
    """Eq. 6 written out: softmax(q k^T / sqrt(d) + b) v."""
    torch.manual_seed(0)
    layer, x, u = UncertaintyAttention(8, 2).double(), torch.randn(2, 8, 3, 5).double(), torch.rand(2, 1, 6, 10).double()
    torch.nn.init.normal_(layer.bias[-1].weight)
    normed = x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()
    q, k, v = (maps.reshape(2, 2, 4, 15) for maps in (layer.query(normed), layer.key(normed), layer.value(x)))
    b = layer.bias(F.adaptive_avg_pool2d(u, (3, 5))).reshape(2, 2, 1, 15)
    weights = (q.transpose(2, 3) @ k / 2 + b).softmax(3)
    attended = (weights @ v.transpose(2, 3)).transpose(2, 3).reshape(2, 8, 3, 5)
    torch.testing.assert_close(layer(x, u), layer.out(attended) + x * 0.5**0.5)


def test_attention_is_plain_at_the_start_and_turns_from_what_is_uncertain():
    torch.manual_seed(0)
    guided, x = UncertaintyAttention(8, 2), torch.randn(1, 8, 4, 4)
    plain = UncertaintyAttention(8, 2, guided=False)
    plain.load_state_dict(guided.state_dict())
    u = torch.zeros(1, 1, 8, 8)
    u[..., :4, :] = 1
    torch.testing.assert_close(guided(x, u), plain(x, u))
    guided.bias = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1, bias=False))
    torch.nn.init.constant_(guided.bias[0].weight, -1e4)  # uncertain places get no attention
    changed = x.clone()
    changed[..., :2, :] = torch.randn(1, 8, 2, 4)
    torch.testing.assert_close(guided(x, u)[..., 2:, :], guided(changed, u)[..., 2:, :])
    assert not torch.allclose(plain(x, u)[..., 2:, :], plain(changed, u)[..., 2:, :])


@pytest.mark.parametrize("size", [(16, 16), (7, 21), (1, 3), (33, 18)])
def test_networks_take_any_size(size):
    torch.manual_seed(0)
    net, discriminator = Generator(SMALL), Discriminator(SMALL)
    mean, log_variance = net(torch.randn(2, 7, *size), torch.rand(2, 1, *size), torch.randn(2, 32))
    assert mean.shape == log_variance.shape == (2, 3, *size)
    assert torch.isfinite(mean).all() and log_variance.min() >= -9 and log_variance.max() <= 2
    deep = Generator(replace(SMALL, global_convs=3))
    assert deep(torch.randn(1, 7, *size), torch.rand(1, 1, *size), torch.randn(1, 32))[0].shape == (1, 3, *size)
    scores, features = discriminator(mean, torch.ones(2, 1, *size))
    assert scores.shape == (2,) and len(features) == 2


def stub(calls=None):
    """A predictor whose deviation rises from left to right; appends its inputs to `calls`."""

    def predict(inputs, uncertainty, z):
        if calls is not None:
            calls.append((inputs, uncertainty, z))
        b, _, h, w = inputs.shape
        ramp = torch.linspace(-6, 0, w).expand(b, 3, h, w)
        return torch.full((b, 3, h, w), 0.25), ramp

    return predict


def test_the_schedules_shares():
    """Of the hole, after half of the passes and after all."""
    shares = {name: (round(share(0.5), 3), round(share(1), 3)) for name, share in SCHEDULES.items()}
    assert shares == {"linear": (0.5, 1), "cosine": (0.293, 1), "cubic": (0.125, 1), "square root": (0.707, 1)}


def test_pixels_that_may_change_are_sampled_and_the_last_pass_is_the_mean():
    """Eq. 5: mean + alpha deviation noise, in every pass but the last."""
    hole, deviation = torch.ones(1, 1, 64, 64), 0.3

    def predict(channels, uncertainty, z):
        return torch.zeros(1, 3, 64, 64), torch.full((1, 1, 64, 64), 2 * math.log(deviation))

    settings = replace(PAPER, iterations=2, alpha=0.5)
    first, last = (each.picture for each in iterate(predict, torch.zeros(1, 3, 64, 64), hole, settings))
    sampled = first[first != 0]
    assert sampled.std() == pytest.approx(0.5 * deviation, rel=0.05) and sampled.mean().abs() < 0.01
    assert not last.any()


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("iterations", [1, 3, 4])
def test_the_surest_pixels_are_decided_first_and_all_in_the_end(schedule, iterations):
    picture, hole = torch.rand(3, 3, 16, 16) * 2 - 1, brush_masks(3, 16, 16, seed=1)
    known, before = (hole == 0), hole
    total = hole.sum((1, 2, 3))
    settings = replace(PAPER, iterations=iterations, schedule=schedule, alpha=0.0)
    for t, now in enumerate(iterate(stub(), picture, hole, settings), 1):
        decided = total - now.hole.sum((1, 2, 3))
        assert torch.equal(decided, (total * SCHEDULES[schedule](t / iterations)).round())
        assert (now.hole <= before).all()  # once in, a pixel stays
        for k in range(3):  # no undecided pixel is left of a newly decided one
            columns = torch.arange(16).expand(16, 16)
            joined, left = columns[(before - now.hole)[k, 0] > 0], columns[now.hole[k, 0] > 0]
            assert not len(joined) or not len(left) or joined.max() <= left.min()
        assert torch.equal(now.picture[known.expand_as(picture)], picture[known.expand_as(picture)])
        assert (now.uncertainty[now.hole > 0] == 1).all() and (now.uncertainty[known] == 0).all()
        before = now.hole
    assert not now.hole.any() and (now.picture[(hole > 0).expand_as(picture)] == 0.25).all()


def test_a_picture_does_not_depend_on_its_batch_and_seeds_differ_in_the_hole_alone():
    torch.manual_seed(0)
    net = Generator(SMALL).eval()
    picture, hole = torch.rand(3, 3, 16, 16) * 2 - 1, brush_masks(3, 16, 16, seed=2)

    @torch.no_grad()
    def last(picture, hole, seed):
        settings = replace(PAPER, iterations=3, alpha=0.1, anchor=1.0)
        return list(iterate(net, picture, hole, settings, seed, latent=32))[-1].picture

    batch = last(picture, hole, 5)
    assert ((batch != picture).any(1, keepdim=True) == (hole > 0)).all()
    torch.testing.assert_close(last(picture[1:2], hole[1:2], 6), batch[1:2], rtol=0, atol=1e-4)
    other = last(picture, hole, 50)
    differs = (other != batch).any(1, keepdim=True)
    assert differs.any() and not differs[hole == 0].any()


def test_the_iteration_tells_the_network_what_it_should():
    """The seven channels, the uncertainty and z of each pass."""
    calls = []
    picture, hole = torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    hole[..., 2:6, 2:6] = 1
    list(iterate(stub(calls), picture, hole, replace(PAPER, iterations=2, alpha=0.0)))
    (first, u, z), (second, second_u, second_z) = calls
    assert first.shape == (1, 7, 8, 8) and torch.equal(z, second_z) and torch.equal(u, hole)
    assert torch.equal(first[:, :3], picture * (1 - hole)) and torch.equal(first[:, 3:4], 0.5 - hole)
    assert first[0, 6, 0, 0] == -0.5 and second[0, 6, 0, 0] == 0.0  # (t - 1) / T - .5
    assert torch.equal(second[:, 5:6], second_u - 0.5) and torch.equal(second[:, 3:4], 0.5 - hole)
    assert not torch.equal(second[:, 4:5], first[:, 4:5])


@pytest.mark.parametrize(("memory", "refresh"), [(0.0, True), (0.0, False), (0.25, True), (0.25, False)])
def test_what_passes_hold_to(memory, refresh):
    """A network that predicts k / 8 in pass k: the running average is known, and so is the pass in which each pixel is decided."""
    count = iter(range(1, 5))
    picture, hole = torch.zeros(1, 3, 4, 8), torch.ones(1, 1, 4, 8)
    predict = lambda inputs, u, z: (torch.full((1, 3, 4, 8), next(count) / 8), torch.linspace(-6, 0, 8).expand(1, 3, 4, 8))
    average, expected = 0.0, torch.zeros(8)
    for t, now in enumerate(iterate(predict, picture, hole, replace(PAPER, alpha=0.0, memory=memory, refresh=refresh)), 1):
        average = t / 8 if t == 1 else (1 - memory) * t / 8 + memory * average
        decided = torch.arange(8) < 2 * t  # two of the eight columns in each pass
        expected = torch.where(decided & (refresh | (torch.arange(8) >= 2 * t - 2)), average, expected)
        torch.testing.assert_close(now.picture[0, 0, 0], expected)


@pytest.mark.parametrize(
    "wrong",
    [{"schedule": "steep"}, {"iterations": 0}, {"alpha": 1.5}, {"anchor": -0.1}, {"memory": 1.0}, {"view": "near"}, {"context": -1.0}],
)
def test_wrong_arguments_are_told(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SDMSettings(**wrong)


def test_the_likelihood_is_the_exact_one_where_that_is_finite_and_finite_everywhere():
    """Against Phi(b) - Phi(a) in float64."""
    values = (torch.arange(256) / 127.5 - 1).view(1, 1, 1, -1)
    for mean in (-1.0, -0.3, 0.0, 0.9):
        for log_variance in (-9.0, -4.0, 0.0, 2.0):
            ours = [
                uncertainty_loss(
                    v.view(1, 1, 1, 1), torch.full((1, 1, 1, 1), mean), torch.full((1, 1, 1, 1), log_variance), torch.ones(1, 1, 1, 1)
                )
                for v in values.flatten()
            ]
            ours = torch.stack(ours).double()
            y, deviation = values.flatten().double(), torch.tensor(log_variance).double().div(2).exp()
            normal = torch.distributions.Normal(torch.tensor(mean).double(), deviation)
            upper = torch.where(y > 0.999, 1.0, normal.cdf(y + 1 / 255))
            lower = torch.where(y < -0.999, 0.0, normal.cdf(y - 1 / 255))
            exact = -(upper - lower).log()
            good = torch.isfinite(exact) & (upper - lower > 1e-9)
            assert torch.isfinite(ours).all() and good.any()
            torch.testing.assert_close(ours[good], exact[good], rtol=2e-3, atol=2e-3)


def test_the_loss_teaches_the_variance_alone():
    mean, log_variance = torch.zeros(1, 3, 4, 4, requires_grad=True), torch.zeros(1, 3, 4, 4, requires_grad=True)
    hole = torch.zeros(1, 1, 4, 4)
    hole[..., 0] = 1
    uncertainty_loss(torch.full((1, 3, 4, 4), 0.1), mean, log_variance, hole).backward()
    assert mean.grad is None and log_variance.grad[..., 0].abs().min() > 0 and not log_variance.grad[..., 1:].any()


def test_a_membrane_solves_laplaces_equation():
    """A plane is its own solution; for other rims Jacobi iterations until convergence give the exact one."""
    known = torch.ones(1, 1, 24, 20)
    known[..., 5:17, 6:15] = 0
    plane = (torch.arange(24.0).view(-1, 1) - 2 * torch.arange(20.0)).view(1, 1, 24, 20) / 20
    assert (membrane(plane, known, 40) - plane).abs().max() < 0.01
    torch.manual_seed(0)
    rough = F.interpolate(torch.randn(1, 2, 5, 5), (24, 20), mode="bicubic")
    exact = rough * known
    for _ in range(2000):
        padded = F.pad(exact, (1, 1, 1, 1), mode="replicate")
        mean = (padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:] + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]) / 4
        exact = torch.lerp(mean, rough, known)
    ours = membrane(rough, known)
    assert torch.equal(ours * known, rough * known)
    assert (ours - exact).abs().mean() < 0.05 * exact.abs().mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_a_membrane_of_any_size_and_with_nothing_known(size):
    values = torch.randn(2, 3, *size)
    assert torch.equal(membrane(values, torch.ones(2, 1, *size)), values)
    assert not membrane(values, torch.zeros(2, 1, *size)).any()


def test_anchored_predictions_meet_the_picture():
    """Anchoring removes a constant error of the network."""
    picture, hole = torch.rand(2, 3, 16, 16) * 0.5, brush_masks(2, 16, 16, seed=1)
    off = lambda inputs, u, z: (picture + torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1), torch.full_like(picture, -4.0))
    settings = replace(PAPER, iterations=2, alpha=0.0)
    *_, anchored = iterate(off, picture, hole, replace(settings, anchor=1.0))
    torch.testing.assert_close(anchored.picture, picture, rtol=0, atol=1e-5)
    *_, plain = iterate(off, picture, hole, settings)
    assert ((plain.picture - picture).abs()[(hole > 0).expand_as(picture)] > 0.05).all()


@pytest.mark.parametrize("wrong", [{"attention": (4,)}, {"heads": 3}, {"widths": (16,)}, {"latent": 0}])
def test_impossible_networks_are_told(wrong):
    with pytest.raises(ValueError, match=r"level|heads|widths"):
        replace(SMALL, **wrong)


def test_the_length_of_z_does_not_matter():
    torch.manual_seed(0)
    net, inputs, u, z = Generator(SMALL), torch.randn(1, 7, 16, 16), torch.rand(1, 1, 16, 16), torch.randn(1, 32)
    for ours, theirs in zip(net(inputs, u, z), net(inputs, u, 3 * z), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(net(inputs, u, z)[0], net(inputs, u, -z)[0])


def test_the_minibatch_deviation_is_that_of_groups_of_four():
    """As StyleGAN2 has it: of eight pictures, every second one is in a group."""
    x = torch.randn(8, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    x[1::2] = 0.5  # the second group's are all alike
    deviation = _minibatch_deviation(x)
    expected = x[::2].std(0, correction=0).mean()
    assert deviation.shape == (8, 1, 3, 3)
    torch.testing.assert_close(deviation[::2], expected.expand(4, 1, 3, 3))
    torch.testing.assert_close(deviation[1::2], torch.zeros(4, 1, 3, 3), rtol=0, atol=1e-3)
