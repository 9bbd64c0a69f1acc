"""Fills holes in a photograph and in unseen landscapes with the bundled networks, and writes one comparison sheet."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

import rad_core
from rad_core.sheets import mark_hole, sheet

HERE = Path(__file__).parent
SIDE = 192


def fill(title: str, net, picture, mask, seed: int, **options):
    """Two fills of a picture, as (picture, hole, first, second) at the sheet's size."""
    steps = options.pop("steps")
    both = picture.expand(2, -1, -1, -1)
    with tqdm(total=steps, desc=title, unit="step") as bar:
        out = rad_core.rad_inpaint(net, both, mask, steps, seed=seed, callback=lambda step, *_: bar.update(step - bar.n), **options)
    assert torch.equal(out[:, :, mask[0, 0] == 0], both[:, :, mask[0, 0] == 0])  # known pixels are bit-exact
    return [F.interpolate(p[None], (SIDE, SIDE), mode="nearest")[0] for p in (picture[0], mark_hole(picture, mask)[0], *out)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo_out"))
    options = parser.parse_args()
    photo, rows = rad_core.read_photo(HERE / "cat.png").rgb, []
    photos = rad_core.load_model("photos")
    for name in ("scratches", "lettering"):
        mask = rad_core.read_mask(HERE / f"{name}.png")
        rows.append(fill(f"photo, {name}", photos, photo, mask, seed=0, steps=20, sampler="ddim"))
    landscapes = rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes")
    for k, make in enumerate((rad_core.box_masks, rad_core.extreme_masks, rad_core.wide_masks)):
        picture, mask = rad_core.landscapes(1, 64, seed=500 + k), make(1, 64, 64, seed=500 + k)
        rows.append(fill(f"landscape, {make.__name__.split('_')[0]}", landscapes, picture, mask, seed=0, steps=100))
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    path = options.output / "sheet.png"
    sheet(list(zip(("picture", "hole", "RAD, one seed", "another seed"), columns, strict=True)), path, cell=SIDE)
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main()
