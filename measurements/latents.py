"""Where should GradPaint look at the rim when a model works on latents? (the paper's open question 2)

`python -m measurements.latents -o docs`. No latent model of a useful kind is small enough to come with this library, so the pixel
network is made into one without loss: its "latents" are 2x2 blocks of pixels, 12 numbers each, turned by a random rotation. That is
an exact latent diffusion model, whose decoder is known exactly, and whose channels say as little about colours one by one as a VAE's.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from measurements.gradpaint import row
from measurements.landscapes import holes
from rad_core.checkpoints import load_model
from rad_core.denoisers import ADMDenoiser
from rad_core.gradpaint import PRESETS, GradPaint
from rad_core.losses import Colours
from rad_core.metrics import save_table
from rad_core.noise import generators, normal
from rad_core.samplers import sample_ddpm
from rad_core.schedule import NoiseSchedule, RegionSchedule
from rad_core.synthetic import UNSEEN, landscapes

BLOCK = 2


class Rotated:
    """Pictures (B, 3, H, W) <-> latents (B, 12, H/2, W/2): blocks of pixels, turned by a random rotation."""

    def __init__(self, seed: int = 0):
        size = 3 * BLOCK**2
        self.turn = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))[0]

    def encode(self, picture: Tensor) -> Tensor:
        return torch.einsum("kc,bchw->bkhw", self.turn, F.pixel_unshuffle(picture, BLOCK))

    def decode(self, latents: Tensor) -> Tensor:
        return F.pixel_shuffle(torch.einsum("kc,bkhw->bchw", self.turn, latents), BLOCK)

    def mean_colour(self) -> Tensor:
        """(3, 12): a latent's mean colour, as a host's preview factors give it."""
        mean = torch.eye(3).repeat_interleave(BLOCK**2, 1) / BLOCK**2
        return mean @ self.turn.T


class Decoded(Colours):
    """Looks at all pixels that the latents stand for, as a TAESD of no error would."""

    def __init__(self, codec: Rotated):
        super().__init__()
        self.codec = codec

    def see(self, values: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self.codec.decode(values), self.codec.encode  # a rotation's transpose is its inverse


@torch.no_grad()
def evaluate(count: int, steps: int) -> dict:
    """Rows of the table: alignment off, on latents, on their mean colour, on the decoded picture."""
    codec, net = Rotated(), load_model("landscapes").to(memory_format=torch.channels_last)
    pixels = ADMDenoiser(net, NoiseSchedule(net.config.schedule), region_aware=False)
    truth, mask = landscapes(count, 64, seed=UNSEEN), holes(count)
    small = F.max_pool2d(mask, BLOCK)  # a latent is known only if its whole block is
    mask, picture = F.interpolate(small, scale_factor=BLOCK), codec.encode(truth * 2 - 1)
    sigmas = RegionSchedule(NoiseSchedule(net.config.schedule)).sigmas(torch.ones(1, 1, 1, 1), steps)
    plus, rows = PRESETS["plus"], {}
    ways = {
        "no guidance": (PRESETS["combine"], None),
        "alignment off": (replace(plus, lambda_align=0.0), None),
        "on the latents": (plus, Colours()),
        "on their mean colour": (plus, Colours(codec.mean_colour())),
        "on the decoded picture": (plus, Decoded(codec)),
    }
    for name, (settings, colours) in ways.items():
        draw = partial(normal, generators(0, count, "latents"), picture.shape[1:])
        combine = lambda x, sigma, draw=draw: torch.lerp(picture + sigma * draw(), x, small)
        denoise = lambda z, sigma: codec.encode(pixels(codec.decode(z), sigma))
        guided = GradPaint(denoise, picture, small, sigmas, settings, combine, response=2.0, colours=colours)
        out = (codec.decode(sample_ddpm(guided, sigmas[0] * draw(), sigmas, draw)) + 1) / 2
        rows[name] = {"pictures": count, **row(torch.where(mask > 0, out.clamp(0, 1), truth), truth, mask)}
        print(name, rows[name], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("-n", "--count", type=int, default=30)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    save_table(evaluate(options.count, options.steps), options.output / "latents.json")


if __name__ == "__main__":
    main()
