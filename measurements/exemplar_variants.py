"""Other ways to use the exemplar denoiser, measured against plain `exemplar_inpaint`: methods of `photos.py`.

Every function is (picture uint8 (H, W, 3), hole bool (H, W), options) -> filled picture uint8. What came of them: docs/exemplar-results.md.
"""

from argparse import Namespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PASSES = 4
REFINE = (0.3, 0.2, 0.1, 0.05, 0.0)  # noise levels of a second run on the finest level


def to_tensors(picture: np.ndarray, hole: np.ndarray) -> tuple[Tensor, Tensor]:
    """Image (1, 3, H, W) in [0, 1] and mask (1, 1, H, W)."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(hole).float()[None, None]


def to_picture(image: Tensor) -> np.ndarray:
    """uint8 (H, W, 3) of an image (1, 3, H, W) in [0, 1]."""
    return (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def exemplar_settings(options: Namespace):
    """The preset of --preset with the fields of --set replaced."""
    from rad_core.exemplar import PRESETS
    from rad_core.settings import resolve_settings

    return resolve_settings(options.preset or "default", PRESETS, options.set)


def sdm(picture: np.ndarray, hole: np.ndarray, options: Namespace, spread: bool = False) -> np.ndarray:
    """SDM's loop: predict all that is undecided, keep the share that is least uncertain, and again.

    spread: uncertainty is the deviation over three seeds; otherwise that of the patches' votes.
    """
    from rad_core import exemplar_inpaint
    from rad_core.sdm.iterate import iterate
    from rad_core.sdm.settings import SDMSettings

    image, mask = to_tensors(picture, hole)
    own = exemplar_settings(options)

    def predict(inputs: Tensor, uncertainty: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """As a `Generator`: mean in [-1, 1] and log-variance."""
        state, undecided = inputs[:, :3], 0.5 - inputs[:, 4:5]
        fills = [exemplar_inpaint((state + 1) / 2, undecided, seed=options.seed + k, settings=own) for k in range(3 if spread else 1)]
        deviation = torch.stack([fill[0] for fill in fills]).std(0).mean(1, keepdim=True) if spread else fills[0][1]
        return fills[0][0] * 2 - 1, (2 * deviation.clamp(min=1e-4).log()).expand(-1, 3, -1, -1)

    settings = SDMSettings(iterations=PASSES, anchor=0, memory=0, alpha=0, refresh=False)
    *_, last = iterate(predict, image * 2 - 1, mask, settings, options.seed, latent=1)
    return to_picture((torch.where(mask > 0, last.picture, image * 2 - 1) + 1) / 2)


def sdm_spread(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    return sdm(picture, hole, options, spread=True)


def second_run(picture: np.ndarray, hole: np.ndarray, options: Namespace, align: bool = False) -> np.ndarray:
    """The fill once more through RAD's loop on the finest level alone; with `align` under GradPaint's alignment loss."""
    from rad_core import exemplar_inpaint
    from rad_core.exemplar import ExemplarDenoiser
    from rad_core.guidance import GradPaint, Guidance, KnownPixels
    from rad_core.samplers import sample_ddim

    image, mask = to_tensors(picture, hole)
    settings = exemplar_settings(options)
    filled = exemplar_inpaint(image, mask, seed=options.seed, settings=settings)[0] * 2 - 1
    denoise = ExemplarDenoiser(image, mask, settings=settings, seed=options.seed)
    sigmas = [mask * level for level in REFINE]
    if align:
        guidance = Guidance(lambda_mse=0.0, align_until=1.0, step="natural", carry=False, eta=1.0)  # RAD's step, in all steps
        denoise = GradPaint(denoise, KnownPixels(filled, mask), sigmas, guidance)
    rng = torch.Generator().manual_seed(options.seed)
    noise = lambda: torch.randn(filled.shape, generator=rng)
    return to_picture((sample_ddim(denoise, filled + sigmas[0] * noise(), sigmas, noise) + 1) / 2)


def second_run_aligned(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    return second_run(picture, hole, options, align=True)


def with_copies(picture: np.ndarray, hole: np.ndarray, options: Namespace, kind: str) -> np.ndarray:
    """Patches of the picture's own mirror image, turned copies, or copies at other scales beside it."""
    from rad_core import exemplar_inpaint

    image, mask = to_tensors(picture, hole)
    pair = torch.cat([image, mask], 1)
    copies = {
        "mirrored": lambda: [pair.flip(3)],
        "turned": lambda: [pair.rot90(k, (2, 3)) for k in (1, 3)],
        "scaled": lambda: [F.interpolate(pair, scale_factor=f, mode="area" if f < 1 else "bicubic") for f in (0.75, 4 / 3)],
    }[kind]()
    copies = [copy[0, :, :-1].clamp(0, 1) for copy in copies]  # a row less: their places are not the picture's
    references, masks = [copy[:3] for copy in copies], [(copy[3] > 0).float() for copy in copies]
    settings = exemplar_settings(options)
    out = exemplar_inpaint(image, mask, settings, seed=options.seed, references=references, reference_masks=masks)
    return to_picture(out[0])


def mirrored(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    return with_copies(picture, hole, options, "mirrored")


def turned(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    return with_copies(picture, hole, options, "turned")


def scaled(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    return with_copies(picture, hole, options, "scaled")
