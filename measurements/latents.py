"""Where should GradPaint's alignment loss look when a model works on latents? (the paper's open question 2)

`python -m measurements.latents -o docs` writes results/latents.json there.

No latent model of a useful kind is small enough to come with this library, so the pixel network is turned into one without loss: its
"latents" are 2x2 blocks of pixels, 12 numbers each, rotated at random. That is an exact latent diffusion model, whose decoder is known
exactly, and whose single channels say as little about colours as a VAE's.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from measurements.gradpaint import measure
from measurements.landscapes import holes
from rad_core.checkpoints import load_model
from rad_core.denoisers import ADMDenoiser, as_denoiser
from rad_core.gradpaint import PRESETS
from rad_core.guidance import GradPaint, KnownPixels
from rad_core.losses import Colours
from rad_core.metrics import save_table
from rad_core.noise import generators, normal
from rad_core.samplers import RESPONSE, sample_ddpm
from rad_core.schedule import RegionSchedule
from rad_core.synthetic import UNSEEN, landscapes

BLOCK = 2


class RotatedBlocks:
    """Pictures (B, 3, H, W) <-> latents (B, 12, H/2, W/2): blocks of pixels, rotated at random."""

    def __init__(self, seed: int = 0):
        size = 3 * BLOCK**2
        self.rotation = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))[0]

    def encode(self, picture: Tensor) -> Tensor:
        """Pictures to latents."""
        return torch.einsum("kc,bchw->bkhw", self.rotation, F.pixel_unshuffle(picture, BLOCK))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to pictures."""
        return F.pixel_shuffle(torch.einsum("kc,bkhw->bchw", self.rotation, latents), BLOCK)

    def mean_colour(self) -> Tensor:
        """(3, 12): from a latent to its mean colour, as a host's preview factors give it."""
        mean = torch.eye(3).repeat_interleave(BLOCK**2, 1) / BLOCK**2
        return mean @ self.rotation.T


class DecodedColours(Colours):
    """The colours of all pixels that the latents stand for, as a perfect TAESD would give them."""

    def __init__(self, codec: RotatedBlocks):
        super().__init__()
        self.codec = codec

    def to_colours(self, values: Tensor) -> Tensor:
        return self.codec.decode(values)

    def vjp(self, values: Tensor, gradient: Tensor) -> Tensor:
        return self.codec.encode(gradient)  # a rotation's transpose is its inverse


@torch.no_grad()
def evaluate(count: int, steps: int) -> dict:
    """Rows of a table: no guidance, no alignment, alignment of the latents, of their mean colours, and of the decoded pictures."""
    codec, net = RotatedBlocks(), load_model("landscapes").to(memory_format=torch.channels_last)
    pixels = ADMDenoiser(net, region_aware=False)
    denoise = as_denoiser(lambda z, sigma: codec.encode(pixels(codec.decode(z), sigma)))
    truth, mask = landscapes(count, 64, seed=UNSEEN), holes(count)
    hole = F.max_pool2d(mask, BLOCK)  # a latent is known only if its whole block is
    mask, latents = F.interpolate(hole, scale_factor=BLOCK), codec.encode(truth * 2 - 1)
    sigmas = RegionSchedule(net.config.schedule).sigmas(torch.ones(1, 1, 1, 1), steps)
    none, plus, rows = PRESETS["combine"].guidance, PRESETS["plus"].guidance, {}
    variants = {
        "no guidance": (none, None),
        "alignment off": (replace(plus, lambda_align=0.0), None),
        "on the latents": (plus, Colours()),
        "on their mean colour": (plus, Colours(codec.mean_colour())),
        "on the decoded picture": (plus, DecodedColours(codec)),
    }
    for name, (guidance, colours) in variants.items():
        noise = partial(normal, generators(0, count, "latents"), latents.shape[1:])
        combine = lambda x, sigma, mask, noise=noise: torch.lerp(latents + sigma * noise(), x, mask)
        known = KnownPixels(latents, hole, combine=combine)
        guided = GradPaint(denoise, known, sigmas, guidance, RESPONSE["ddpm"], colours=colours)
        out = (codec.decode(sample_ddpm(guided, sigmas[0] * noise(), sigmas, noise)) + 1) / 2
        rows[name] = {"pictures": count, **measure(torch.where(mask > 0, out.clamp(0, 1), truth), truth, mask)}
        print(name, rows[name], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("-n", "--count", type=int, default=30, help="pictures (default: 30)")
    parser.add_argument("--steps", type=int, default=30, help="of the sampler (default: 30)")
    options = parser.parse_args()
    save_table(evaluate(options.count, options.steps), options.output / "results" / "latents.json")


if __name__ == "__main__":
    main()
