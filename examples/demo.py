"""Fill holes in a photograph and in landscapes with all methods on the bundled networks, and write one comparison sheet."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import rad_core
from rad_core.sheets import mark_hole, sheet

HERE = Path(__file__).parent
TITLES = ("picture", "hole", "RAD, one seed", "another seed", "GradPaint", "SDM")
CELL = 192  # pixels of a picture's side on the sheet
UNSEEN_SEED = 500  # the networks were not trained on these landscapes


def fill(title: str, method, net, picture: Tensor, mask: Tensor, fills: int = 1, **settings) -> list[Tensor]:
    """Fill a picture (1, 3, H, W) with the seeds 0 and up; (1, 3, H, W) each."""
    pictures = picture.expand(fills, -1, -1, -1)
    with tqdm(desc=title, unit="step") as bar:

        def advance(step: int, steps: int, x0: Tensor) -> None:
            bar.total = steps
            bar.update(step - bar.n)

        filled = method(net, pictures, mask, seed=0, callback=advance, **settings)
    filled = filled[0] if isinstance(filled, tuple) else filled  # SDM also returns the uncertainty
    known = mask[0, 0] == 0
    assert torch.equal(filled[:, :, known], pictures[:, :, known]), "known pixels must be bit-identical"
    return list(filled.split(1))


def photo_rows() -> list[list[Tensor]]:
    """A photograph with things to remove. There is no bundled plain or SDM network for photographs, so two columns are empty."""
    photo, net = rad_core.read_photo(HERE / "cat.png").rgb, rad_core.load_model("photos")
    rows = []
    for name in ("scratches", "lettering"):
        mask = rad_core.read_mask(HERE / f"{name}.png")
        filled = fill(f"photo, {name}", rad_core.rad_inpaint, net, photo, mask, fills=2)
        rows.append([photo, mark_hole(photo, mask), *filled, torch.ones_like(photo), torch.ones_like(photo)])
    return rows


def landscape_rows() -> list[list[Tensor]]:
    """Landscapes with large holes of three kinds."""
    plain, sdm = rad_core.load_model("landscapes"), rad_core.load_sdm("landscapes")
    adapted = rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes")
    rows = []
    for k, make_mask in enumerate((rad_core.box_masks, rad_core.extreme_masks, rad_core.wide_masks)):
        picture, mask = rad_core.landscapes(1, 64, seed=UNSEEN_SEED + k), make_mask(1, 64, 64, seed=UNSEEN_SEED + k)
        name = f"landscape, {make_mask.__name__.split('_')[0]}"
        filled = fill(f"{name}, RAD", rad_core.rad_inpaint, adapted, picture, mask, fills=2, settings="paper")
        filled += fill(f"{name}, GradPaint", rad_core.gradpaint_inpaint, plain, picture, mask, steps=50)
        filled += fill(f"{name}, SDM", rad_core.sdm_inpaint, sdm, picture, mask)
        rows.append([picture, mark_hole(picture, mask), *filled])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo_out"))
    options = parser.parse_args()
    rows = photo_rows() + landscape_rows()
    columns = [
        torch.cat([F.interpolate(picture, (CELL, CELL), mode="nearest") for picture in column]) for column in zip(*rows, strict=True)
    ]
    path = options.output / "sheet.png"
    sheet(list(zip(TITLES, columns, strict=True)), path, cell=CELL)
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main()
