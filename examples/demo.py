"""Remove things from photographs with the photographs' own patches, fill holes in landscapes with all methods on the bundled networks,
and write both as sheets."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import rad_core
from rad_core.commands.progress import progress
from rad_core.sheets import mark_hole, sheet

PHOTOS = Path(__file__).parent / "photos"
NAMES = ("path", "sunset", "waves", "bulb")
TITLES = ("picture", "hole", "RAD, one seed", "another seed", "GradPaint", "SDM, then RAD")
SIZE, CELL = 128, 256  # of a landscape; of its side on the sheet
# Kinds of hole, and seeds of landscapes and holes that the networks were not trained on; the sun is in the known part, since the
# networks are small, and of one that they have to draw themselves they may make a blot.
LANDSCAPES = ((rad_core.box_masks, 500), (rad_core.extreme_masks, 624), (rad_core.wide_masks, 502))


def check_known(filled: Tensor, picture: Tensor, mask: Tensor) -> None:
    known = (mask == 0).expand_as(picture)
    assert torch.equal(filled[known], picture[known]), "known pixels must be bit-identical"


def photo_columns(names: Sequence[str] = NAMES, runs: int = 1) -> list[tuple[str, Tensor]]:
    """Columns of a sheet: each photograph, its hole and its fill (3, 3, H, W), with the seconds of the fill (the median of the runs)."""
    columns = []
    for name in names:
        photo, mask = rad_core.read_photo(PHOTOS / f"{name}.jpg").rgb, rad_core.read_mask(PHOTOS / f"{name}.mask.png")
        seconds = []
        for _ in range(runs):
            with progress(name) as callback:
                began = time.perf_counter()
                filled, _ = rad_core.exemplar_inpaint(photo, mask, seed=0, callback=callback)
                seconds.append(time.perf_counter() - began)
        check_known(filled, photo, mask)
        taken = f"{sorted(seconds)[runs // 2]:.1f} s"
        print(f"{name}: filled {int((mask > 0).sum()):,} of {mask.numel():,} pixels in {taken}.")
        columns.append((f"{name}, {taken}", torch.cat([photo, mark_hole(photo, mask), filled])))
    return columns


def fill(title: str, method, net, picture: Tensor, mask: Tensor, **settings) -> tuple[Tensor, ...]:
    """Fill a picture (1, 3, H, W), or several that have the same known pixels: the fills, and SDM's uncertainty."""
    with progress(title) as callback:
        results = method(net, picture, mask, seed=0, callback=callback, **settings)
    results = results if isinstance(results, tuple) else (results,)
    check_known(results[0], picture, mask)
    return results


def landscape_rows() -> list[list[Tensor]]:
    """Landscapes with large holes of three kinds."""
    plain, sdm = rad_core.load_model("landscapes"), rad_core.load_sdm("landscapes")
    adapted, detail_net = (rad_core.load_adapter(rad_core.load_model("landscapes"), name) for name in ("landscapes", "landscapes-detail"))
    rows = []
    for make_mask, seed in LANDSCAPES:
        picture, mask = rad_core.landscapes(1, SIZE, seed=seed), make_mask(1, SIZE, SIZE, seed=seed)
        name, twice = f"landscape, {make_mask.__name__.split('_')[0]}", picture.expand(2, -1, -1, -1)
        (rad,) = fill(f"{name}, RAD", rad_core.rad_inpaint, adapted, twice, mask, settings="paper", detail=1.0, detail_net=detail_net)
        (gradpaint,) = fill(f"{name}, GradPaint", rad_core.gradpaint_inpaint, plain, picture, mask, steps=50)
        first, uncertainty = fill(f"{name}, SDM", rad_core.sdm_inpaint, sdm, picture, mask)
        refine = {"steps": 10, "uncertainty": uncertainty, "detail_net": detail_net}
        (refined,) = fill(f"{name}, SDM, then RAD", rad_core.rad_inpaint, adapted, first, mask, **refine)
        rows.append([picture, mark_hole(picture, mask), *rad.split(1), gradpaint, refined])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo_out"))
    options = parser.parse_args()
    path = options.output / "photos.png"
    sheet(photo_columns(), path)
    print(f"Wrote {path}. Now the landscapes, for RAD, GradPaint and SDM:")
    path = options.output / "sheet.png"
    columns = [torch.cat(column) for column in zip(*landscape_rows(), strict=True)]
    sheet(list(zip(TITLES, columns, strict=True)), path, cell=CELL)
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main()
