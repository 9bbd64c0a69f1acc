"""A network that reads a landscape's scene: time of day, sun, horizon, clouds, water, snow, trees, ground.

Landscapes are drawn from known parameters, so what a fill shows can be compared with them: a reflection of a sun that is not there is a
*scene error*. The network's features give a Fréchet distance and a perceptual distance with nothing to download. Trained by
`python -m rad_core.bench.scene -o rad_core/weights/scene.reader.safetensors`.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from ..atomic import atomic_write
from ..checkpoints import WEIGHTS
from ..synthetic import UNSEEN, Scene, landscapes
from ..training.loop import TRAINING_SEEDS

READER = WEIGHTS / "scene.reader.safetensors"
NUMBERS = ("horizon", "disc_x", "disc_y", "disc_radius", "cloud_cover")
MEANS = {"horizon": 0.58, "disc_x": 0.5, "disc_y": 0.26, "disc_radius": 0.05, "cloud_cover": 0.5}
DEVIATIONS = {"horizon": 0.058, "disc_x": 0.23, "disc_y": 0.1, "disc_radius": 0.0087, "cloud_cover": 0.29}
FLAGS = ("water", "snow", "trees")
GROUNDS = 6
LEARNING_RATE = 2e-3


class SceneReader(nn.Module):
    """Reads a landscape's scene from pictures (B, 3, 64, 64) in [0, 1]; other sizes are resized to 64."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128), features: int = 64):
        super().__init__()
        block = lambda a, b, stride: nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.GroupNorm(8, b), nn.SiLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(block(a, b, 1 if k == 0 else 2), block(b, b, 1))
            for k, (a, b) in enumerate(zip((3, *widths[:-1]), widths, strict=True))
        )
        self.squeeze = nn.Linear(widths[-1] * 16, features)
        self.read = nn.Linear(features, 2 + len(NUMBERS) + len(FLAGS) + GROUNDS)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Every block's feature maps, each (B, width, h, w)."""
        x, maps = F.interpolate(pictures, (64, 64), mode="bilinear", antialias=True) * 2 - 1, []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps

    def features(self, pictures: Tensor) -> Tensor:
        """The features that the scene is read from, (B, 64)."""
        return self.squeeze(F.adaptive_avg_pool2d(self.maps(pictures)[-1], 4).flatten(1))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """The scene: hour (B, 2), cosine and sine; NUMBERS (B,), standardised; FLAGS (B,), logits; ground (B, 6), logits."""
        hour, numbers, flags, ground = self.read(F.silu(self.features(pictures))).split([2, len(NUMBERS), len(FLAGS), GROUNDS], 1)
        named = dict(zip((*NUMBERS, *FLAGS), torch.cat([numbers, flags], 1).unbind(1), strict=True))
        return {"hour": hour, "ground": ground} | named


def errors(prediction: dict[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Errors of a predicted scene, (B,) each: squared error for hour and numbers, cross-entropy for the rest."""
    angle = scene.hour * (2 * math.pi / 24)
    out = {"hour": (prediction["hour"] - torch.stack([angle.cos(), angle.sin()], 1)).square().sum(1)}
    out |= {name: (prediction[name] - (getattr(scene, name) - MEANS[name]) / DEVIATIONS[name]).square() for name in NUMBERS}
    out |= {name: F.binary_cross_entropy_with_logits(prediction[name], getattr(scene, name), reduction="none") for name in FLAGS}
    return out | {"ground": F.cross_entropy(prediction["ground"], scene.ground.long(), reduction="none")}


def scene_error(reader: SceneReader, pictures: Tensor, scene: Scene) -> Tensor:
    """The sum of `errors` of the scene that the reader sees in pictures, (B,)."""
    return sum(errors(reader(pictures), scene).values())


def perceptual_distance(reader: SceneReader, a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance of normalised feature maps over all blocks, (B,): LPIPS without its learned weights."""
    unit = lambda maps: maps * torch.rsqrt(maps.square().sum(1, keepdim=True) + 1e-10)
    pairs = zip(reader.maps(a), reader.maps(b), strict=True)
    return sum((unit(x) - unit(y)).square().sum(1).mean((1, 2)) for x, y in pairs) / len(reader.blocks)


def load_reader() -> SceneReader:
    """The bundled network, in eval mode."""
    reader = SceneReader()
    reader.load_state_dict({name: tensor.float() for name, tensor in load_file(READER).items()})
    return reader.eval().requires_grad_(False)


def train_reader(steps: int, batch: int, seed: int) -> SceneReader:
    """Train a network on the sum of `errors` over drawn landscapes."""
    torch.manual_seed(seed)
    reader = SceneReader().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(reader.parameters(), LEARNING_RATE)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    progress = tqdm(range(steps), unit="step", mininterval=5)
    for step in progress:
        pictures, scene = landscapes(batch, 64, TRAINING_SEEDS + seed * 2**32 + step * batch, return_scene=True)
        loss = scene_error(reader, pictures.to(memory_format=torch.channels_last), scene).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        decay.step()
        progress.set_postfix(error=f"{loss.item():.3f}")
    return reader.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=READER)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reader = train_reader(options.steps, options.batch, options.seed)
    state = {name: tensor.half().contiguous() for name, tensor in reader.state_dict().items()}
    atomic_write(options.output, lambda temporary: save_file(state, temporary, {"format": "pt"}))
    pictures, scene = landscapes(500, 64, seed=UNSEEN, return_scene=True)
    print(json.dumps({name: float(values.mean()) for name, values in errors(reader(pictures), scene).items()}, indent=1))


if __name__ == "__main__":
    main()
