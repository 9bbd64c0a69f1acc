"""Networks whose features tell how alike pictures are: our own reader of landscapes, or the published ones where the user has them."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from .scene import SceneReader, load_reader, perceptual_distance


@dataclass(frozen=True)
class Judge:
    """features: (B, 3, H, W) in [0, 1] -> (B, D). distance: of two batches, (B,). reader: reads scenes, or None."""

    features: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]
    reader: SceneReader | None = None


def scene_judge() -> Judge:
    """The network that reads a landscape's scene (`scene`). Nothing is downloaded."""
    reader = load_reader()
    return Judge(reader.features, partial(perceptual_distance, reader), reader)


WEIGHTS = {  # as their libraries name them in torch.hub's folder
    "FID": "weights-inception-2015-12-05-6726825d.pth",
    "LPIPS": "alexnet-owt-7be5be79.pth",
}


def published_judge(device: torch.device | str = "cpu") -> Judge:
    """Inception's 2048 features, as FID, KID, P-IDS and U-IDS are published with, and LPIPS of AlexNet, through torchmetrics, on a device.

    Raises:
        ValueError: a library or a file of weights is not there, or the file holds more than tensors. Nothing is downloaded.
    """
    try:
        import torch_fidelity  # noqa: F401  torchmetrics takes Inception from it
        import torchvision  # noqa: F401  and AlexNet from this
        from torchmetrics.image import FrechetInceptionDistance, LearnedPerceptualImagePatchSimilarity
    except ImportError as error:
        raise ValueError(f"The published features need {error.name}: pip install torchmetrics torch-fidelity torchvision.") from None
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for metric, name in WEIGHTS.items():
        if not (folder / name).is_file():
            raise ValueError(f"{metric} needs its published weights: put {name} into {folder}.")
        try:  # the libraries would unpickle whatever is in it
            torch.load(folder / name, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ValueError(f"{folder / name} is not the file of weights that was published: {error}") from None
    inception = FrechetInceptionDistance(2048, normalize=True).inception.to(device)
    lpips = LearnedPerceptualImagePatchSimilarity("alex", normalize=True).net.to(device)
    eight_bit = lambda pictures: (pictures * 255).round().to(torch.uint8)

    def by_parts(judge: Callable[..., Tensor], *pictures: Tensor) -> Tensor:
        """16 pictures of each at a time: Inception sees every one at 299x299."""
        parts = zip(*(batch.split(16) for batch in pictures), strict=True)
        return torch.cat([judge(*(part.to(device) for part in several)).cpu() for several in parts])

    return Judge(
        lambda pictures: by_parts(lambda part: inception(eight_bit(part)), pictures),
        lambda a, b: by_parts(lambda *parts: lpips(*parts, normalize=True).flatten(), a, b),
    )


JUDGES = {"scene": lambda device: scene_judge(), "published": published_judge}  # by what `--judge` is given, on a device
