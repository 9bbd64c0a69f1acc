"""Which latents GradPaint should trust where a hole is painted in pixels and latents see their neighbours' pixels.

`python -m measurements.latent_rim -o docs` writes results/latent_rim.json there. Everything is Gaussian and linear, so the answer is
known: pictures of 32x32 pixels with covariance exp(-distance / 8); an encoder of four channels for each block of 4x4 pixels, which
looks `spread` blocks around (the standard deviation of its window); the decoder and the denoiser of least squared error. The hole is
filled with the mean of the known pixels before encoding, as the node does, and so contaminates the latents around it: the ring.
Errors are distances to the hole's conditional mean, with 95 % intervals.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from measurements.gaussian import GaussianDenoiser, conditional_mean, covariance_of, places
from rad_core.gradpaint import PRESETS
from rad_core.guidance import GradPaint, KnownPixels
from rad_core.metrics import save_table
from rad_core.noise import generators, normal
from rad_core.samplers import RESPONSE, SAMPLERS, SPACING
from rad_core.schedule import RegionSchedule

SIDE, BLOCK, CELLS, STEPS = 32, 4, 8, 20
SPREADS = (0.3, 0.6, 0.9)
COVARIANCE = covariance_of(SIDE, 8)


class Autoencoder(GaussianDenoiser):
    """Latents (B, 4, 8, 8) of pictures (B, 1, 32, 32): local means and slopes, and the exact denoiser of latents."""

    def __init__(self, spread: float):
        middles = places(CELLS) * BLOCK + (BLOCK - 1) / 2
        y, x = ((places(SIDE)[None] - middles[:, None]) / BLOCK).unbind(-1)
        window = torch.exp(-(y.square() + x.square()) / (2 * spread**2))
        encoder = torch.cat([window, window * x, window * y, window * x * y])
        self.encoder = encoder / (encoder @ COVARIANCE @ encoder.T).diagonal().sqrt()[:, None]
        super().__init__(self.encoder @ COVARIANCE @ self.encoder.T + 1e-6 * torch.eye(len(encoder)))
        self.decoder = COVARIANCE @ self.encoder.T @ torch.linalg.inv(self.covariance)

    def encode(self, picture: Tensor) -> Tensor:
        return (picture.flatten(1).double() @ self.encoder.T).view(-1, 4, CELLS, CELLS).float()

    def decode(self, latents: Tensor) -> Tensor:
        return (latents.flatten(1).double() @ self.decoder.T).view(-1, 1, SIDE, SIDE).float()


def evaluate(count: int) -> dict:
    """Rows of a table."""
    white = normal(generators(0, count, "pictures"), (SIDE * SIDE,)).double()
    picture = (white @ torch.linalg.cholesky(COVARIANCE + 1e-9 * torch.eye(SIDE * SIDE)).T).view(count, 1, SIDE, SIDE).float()
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 9:22, 10:23] = 1
    mean = conditional_mean(picture, mask, COVARIANCE)
    shown = torch.where(mask > 0, (picture * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum(), picture)
    rim = mask * F.max_pool2d(1 - mask, 3, 1, 1)
    touched = F.max_pool2d(mask, BLOCK)
    wide = F.max_pool2d(touched, 3, 1, 1)
    variants = {
        "combine": ("combine", touched, 1 - touched),
        "the ring put back, not trusted": ("plus", touched, 1 - wide),
        "the ring made anew": ("plus", wide, 1 - wide),
        "the ring put back and trusted": ("plus", touched, 1 - touched),
    }
    rows = {}
    for spread in SPREADS:
        model = Autoencoder(spread)
        latents = model.encode(shown)
        for sampler in ("ddim", "dpmpp_2m"):
            sigmas = RegionSchedule().sigmas(torch.ones(1, 1, 1, 1), STEPS, SPACING[sampler])
            for label, (preset, hole, trusted) in variants.items():
                noise = partial(normal, generators(1, count, "sampling"), latents.shape[1:])
                combine = lambda x, sigma, m, noise=noise, latents=latents: torch.lerp(latents + sigma * noise(), x, m)
                guided = GradPaint(model, KnownPixels(latents, hole, trusted, combine), sigmas, PRESETS[preset].guidance, RESPONSE[sampler])
                out = torch.where(hole > 0, SAMPLERS[sampler](guided, sigmas[0] * noise(), sigmas, noise), latents)
                error = (model.decode(out) - mean).square()
                rows[f"{spread} blocks, {sampler}, {label}"] = {
                    name: interval((error * part).flatten(1).sum(1).div(part.sum()).sqrt()) for name, part in (("hole", mask), ("rim", rim))
                }
    return rows


def interval(values: Tensor) -> str:
    """Mean and 95 % interval of pictures: "0.336 +- 0.015"."""
    return f"{values.mean():.3f} +- {1.96 * values.std() / len(values) ** 0.5:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("-n", "--count", type=int, default=200, help="pictures (default: 200)")
    options = parser.parse_args()
    save_table(evaluate(options.count), options.output / "results" / "latent_rim.json")


if __name__ == "__main__":
    main()
