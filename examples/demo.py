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


def fill(title: str, method, net, picture, mask, fills: int, steps: int, **options) -> list[torch.Tensor]:
    """Fills of a picture (1, 3, H, W), each (1, 3, H, W): seeds 0 and up."""
    several = picture.expand(fills, -1, -1, -1)
    with tqdm(total=steps, desc=title, unit="step") as bar:
        out = method(net, several, mask, steps, seed=0, callback=lambda step, *_: bar.update(step - bar.n), **options)
    assert torch.equal(out[:, :, mask[0, 0] == 0], several[:, :, mask[0, 0] == 0])  # known pixels are bit-exact
    return list(out.split(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo_out"))
    options = parser.parse_args()
    photo, rows = rad_core.read_photo(HERE / "cat.png").rgb, []
    photos = rad_core.load_model("photos")
    for name in ("scratches", "lettering"):
        mask = rad_core.read_mask(HERE / f"{name}.png")
        filled = fill(f"photo, {name}", rad_core.rad_inpaint, photos, photo, mask, fills=2, steps=20, sampler="ddim")
        none = torch.ones_like(photo)  # GradPaint wants a plain network and SDM one of its own, and for photos there is neither
        rows.append([photo, mark_hole(photo, mask), *filled, none, none])
    landscapes, plain = rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes"), rad_core.load_model("landscapes")
    sdm = rad_core.load_sdm("landscapes")
    for k, make in enumerate((rad_core.box_masks, rad_core.extreme_masks, rad_core.wide_masks)):
        picture, mask = rad_core.landscapes(1, 64, seed=500 + k), make(1, 64, 64, seed=500 + k)
        name = f"landscape, {make.__name__.split('_')[0]}"
        filled = fill(f"{name}, RAD", rad_core.rad_inpaint, landscapes, picture, mask, fills=2, steps=100, sampler="ddpm")
        filled += fill(f"{name}, GradPaint", rad_core.gradpaint_inpaint, plain, picture, mask, fills=1, steps=50)
        filled += fill(
            f"{name}, SDM", lambda *args, **kwargs: rad_core.sdm_inpaint(*args, **kwargs)[0], sdm, picture, mask, fills=1, steps=4
        )
        rows.append([picture, mark_hole(picture, mask), *filled])
    columns = [
        torch.cat([F.interpolate(picture, (SIDE, SIDE), mode="nearest") for picture in column]) for column in zip(*rows, strict=True)
    ]
    path = options.output / "sheet.png"
    sheet(list(zip(("picture", "hole", "RAD, one seed", "another seed", "GradPaint", "SDM"), columns, strict=True)), path, cell=SIDE)
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main()
