"""Photo repair against classical inpainting, on photographs that were held out of training.

`python -m measurements.photo_repair -o docs` writes results/photos.json and images/photos.jpg there. `--collect FOLDER` copies the training
photographs instead. Needs scikit-image and scikit-learn, which contain the photographs, and OpenCV: `pip install .[evaluation]`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rad_core.checkpoints import load_model
from rad_core.images import read_photo
from rad_core.masks import scratch_masks
from rad_core.metrics import psnr, save_table, seam, ssim, texture
from rad_core.rad import rad_inpaint
from rad_core.sheets import mark_hole, sheet

TRAINED_ON = (
    "astronaut.png",
    "coffee.png",
    "motorcycle_left.png",
    "camera.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "coins.png",
    "china.jpg",
)
HELD_OUT = ("chelsea.png", "rocket.jpg", "flower.jpg")


def photograph_folders() -> list[Path]:
    """The folders of scikit-image and scikit-learn that contain photographs."""
    import skimage
    import sklearn

    return [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"]


def find(name: str) -> Path:
    """The path of a photograph."""
    return next(folder / name for folder in photograph_folders() if (folder / name).is_file())


def collect(folder: Path) -> None:
    """Copy the training photographs into a folder for `train rad --data`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TRAINED_ON:
        (folder / name).write_bytes(find(name).read_bytes())


def lettering(height: int, width: int, text: str = "SPECIMEN") -> Tensor:
    """A mask (1, 1, H, W) in the shape of a watermark, text in two lines."""
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(10, height // 8))
    for row in range(2):
        draw.text((width * 0.06, height * (0.2 + 0.45 * row)), text, fill=255, font=font)
    return (torch.from_numpy(np.array(canvas)) > 100).float()[None, None]


def cases(side: int) -> list[tuple[str, Tensor, Tensor]]:
    """(name, photo (1, 3, side, side), mask): the middle of each held-out photograph, with scratches and with lettering."""
    out = []
    for k, name in enumerate(HELD_OUT):
        rgb = read_photo(find(name)).rgb
        top, left = ((length - side) // 2 for length in rgb.shape[2:])
        photo = rgb[..., top : top + side, left : left + side]
        out.append((f"{Path(name).stem}, scratches", photo, scratch_masks(1, side, side, seed=50 + k, strokes=(6, 9))))
        out.append((f"{Path(name).stem}, lettering", photo, lettering(side, side)))
    return out


def classical(photo: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Fills by OpenCV's Telea and Navier-Stokes and scikit-image's biharmonic inpainting, by name."""
    import cv2
    from skimage.restoration import inpaint_biharmonic

    picture = (photo[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    hole = mask[0, 0].numpy().astype(np.uint8)
    to_tensor = lambda a: torch.from_numpy(np.ascontiguousarray(a)).permute(2, 0, 1)[None].float().clamp(0, 1)
    return {
        "Telea": to_tensor(cv2.inpaint(picture, hole, 3, cv2.INPAINT_TELEA) / 255),
        "Navier-Stokes": to_tensor(cv2.inpaint(picture, hole, 3, cv2.INPAINT_NS) / 255),
        "biharmonic": to_tensor(inpaint_biharmonic(picture / 255, hole.astype(bool), channel_axis=-1)),
    }


METRICS = {"PSNR": psnr, "SSIM": ssim, "seam": seam, "texture": texture}


def evaluate(side: int, steps: int, fills: int, sampler: str, align: float, folder: Path) -> dict:
    """Repair every case by every method, and draw them. Returns the rows of a table: means over the cases."""
    net, rows, columns = load_model("photos"), {}, {}
    for name, photo, mask in cases(side):
        samples = torch.cat([rad_inpaint(net, photo, mask, seed=k, steps=steps, sampler=sampler, align=align) for k in range(fills)])
        results = classical(photo, mask) | {"RAD, one fill": samples[:1], f"RAD, mean of {fills}": samples.mean(0, keepdim=True)}
        for method, result in results.items():
            row = rows.setdefault(method, {metric: [] for metric in METRICS})
            for metric, measure in METRICS.items():
                row[metric].append(float(measure(result, photo, mask)))
        for label, picture in ({"photo": photo, "hole": mark_hole(photo, mask)} | results).items():
            columns.setdefault(label, []).append(picture)
        print(name, {method: round(row["PSNR"][-1], 2) for method, row in rows.items()}, flush=True)
    sheet([(label, torch.cat(parts)) for label, parts in columns.items()], folder / "images" / "photos.jpg", cell=side)
    return {method: {metric: float(np.mean(values)) for metric, values in row.items()} for method, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("--collect", type=Path, metavar="FOLDER", help="only copy the training photographs there")
    parser.add_argument("--side", type=int, default=128, help="of the pictures, in pixels (default: 128)")
    parser.add_argument("--steps", type=int, default=20, help="of the sampler (default: 20)")
    parser.add_argument("--fills", type=int, default=8, help="fills of each picture, for their mean (default: 8)")
    parser.add_argument("--sampler", default="ddim", help="ddpm, ddim or dpmpp_2m (default: ddim)")
    parser.add_argument("--align", type=float, default=0.0, help="alignment of the rim, 0 to 1 (default: 0)")
    options = parser.parse_args()
    if options.collect:
        return collect(options.collect)
    rows = evaluate(options.side, options.steps, options.fills, options.sampler, options.align, options.output)
    save_table(rows, options.output / "results" / "photos.json")


if __name__ == "__main__":
    main()
