"""Networks whose features measure how alike pictures are: our own scene reader, or the published ones where the user has them."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from .scene import SceneReader, load_reader, perceptual_distance


@dataclass(frozen=True)
class FeatureExtractor:
    """What the benchmark compares pictures with. All pictures are (B, 3, H, W) in [0, 1].

    Args:
        features: pictures -> (B, D).
        distance: two batches of pictures -> (B,), their perceptual distance.
        reader: the network that reads a landscape's scene, or None.
    """

    features: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]
    reader: SceneReader | None = None


def scene_features() -> FeatureExtractor:
    """The bundled network that reads a landscape's scene (see `scene`). Nothing is downloaded."""
    reader = load_reader()
    return FeatureExtractor(reader.features, partial(perceptual_distance, reader), reader)


WEIGHTS = {  # file names that the libraries use in torch.hub's folder
    "FID": "weights-inception-2015-12-05-6726825d.pth",
    "LPIPS": "alexnet-owt-7be5be79.pth",
}


def published_features(device: torch.device | str = "cpu") -> FeatureExtractor:
    """Inception's 2048 features, which published FID, KID, P-IDS and U-IDS use, and LPIPS of AlexNet. From torchmetrics, on a device.

    Raises:
        ValueError: a library or a weights file is missing, or the file holds more than tensors. Nothing is downloaded.
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
        try:  # the libraries would unpickle anything in it
            torch.load(folder / name, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ValueError(f"{folder / name} is not the published weights file: {error}") from None
    inception = FrechetInceptionDistance(2048, normalize=True).inception.to(device)
    lpips = LearnedPerceptualImagePatchSimilarity("alex", normalize=True).net.to(device)
    eight_bit = lambda pictures: (pictures * 255).round().to(torch.uint8)

    def in_batches(network: Callable[..., Tensor], *pictures: Tensor) -> Tensor:
        """16 pictures at a time: Inception resizes each to 299x299."""
        batches = zip(*(several.split(16) for several in pictures), strict=True)
        return torch.cat([network(*(pictures.to(device) for pictures in batch)).cpu() for batch in batches])

    return FeatureExtractor(
        lambda pictures: in_batches(lambda batch: inception(eight_bit(batch)), pictures),
        lambda a, b: in_batches(lambda *batch: lpips(*batch, normalize=True).flatten(), a, b),
    )


FEATURE_EXTRACTORS = {"scene": lambda device: scene_features(), "published": published_features}  # by name; each is called with a device
