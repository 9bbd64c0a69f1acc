"""Files of `inpaint`: which photos to fill, reading them with their masks, writing the results."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..images import check_image_and_mask
from ..mask_files import read_mask
from ..masks import grow_masks
from ..notes import note
from ..photo_files import Photo, check_writable, picture_files, read_photo, write_photo
from ..sheets import mark_hole, sheet
from .paths import inode, is_folder

MASK = ".mask"  # at the end of a mask's name, beside its photo's
MAX_CELL = 512  # pixels of a picture's height on a sheet


@dataclass(frozen=True)
class Job:
    """One photo to fill, and the files to write."""

    photo: Path
    mask: Path
    output: Path
    sheet: Path | None = None
    uncertainty: Path | None = None

    @property
    def written(self) -> list[Path]:
        return [path for path in (self.output, self.sheet, self.uncertainty) if path]

    def numbered(self, fills: int) -> list["Job"]:
        """A job for each of several fills, of the files out_1.png, out_2.png ... ; the sheet is one for all."""
        if fills == 1:
            return [self]
        name = lambda path, k: path and path.with_stem(f"{path.stem}_{k}")
        return [replace(self, output=name(self.output, k), uncertainty=name(self.uncertainty, k)) for k in range(1, fills + 1)]


def find_jobs(photo: Path, mask: Path, output: Path, compare: Path | None = None, uncertainty: Path | None = None) -> list[Job]:
    """The job of one photo, or the jobs of a folder's photos.

    Args:
        photo: a picture, or a folder of pictures.
        mask: a mask; for a folder one mask for all photos, or a folder of masks NAME.png or NAME.mask.png, which may be the photos' own.
        output: the picture to write, or a folder.
        compare, uncertainty: the sheet and the uncertainty map to write, if any; folders if `photo` is one.

    Raises:
        FileNotFoundError: there is no such photo or mask.
        ValueError: photos, masks and outputs do not fit together.
    """
    for path in (photo, mask):
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}.")
    if not photo.is_dir():
        if mask.is_dir():
            raise ValueError(f"{mask} is a folder, but {photo} is one photo: pass one mask.")
        folder = is_folder(output)
        target = output / f"{photo.stem}.png" if folder else output
        return [Job(photo, mask, target, compare, uncertainty)]
    photos = [path for path in picture_files(photo) if not path.stem.endswith(MASK) and inode(path) != inode(mask)]
    if not photos:
        raise ValueError(f"There are no pictures in {photo}.")
    if len({p.stem for p in photos}) < len(photos):
        raise ValueError(f"Some pictures in {photo} differ in their extension alone; their results would have the same name.")
    if output.resolve() == photo.resolve():
        raise ValueError("The output folder is the input folder; choose another one.")
    masks = {p.stem.removesuffix(MASK): p for p in _mask_files(mask, photos)} if mask.is_dir() else {p.stem: mask for p in photos}
    if missing := [p.name for p in photos if p.stem not in masks]:
        raise ValueError(
            f"{len(missing)} of {len(photos)} photos have no mask of the same name in {mask}, such as {missing[0]}. A black mask keeps a "
            "photo as it is."
        )
    inside = lambda folder, photo: folder / f"{photo.stem}.png" if folder else None
    return [Job(p, masks[p.stem], inside(output, p), inside(compare, p), inside(uncertainty, p)) for p in photos]


def in_order(path: Path) -> list:
    """What sorts files by name and number, frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.stem)]


def _mask_files(folder: Path, photos: list[Path]) -> list[Path]:
    """A folder's masks: no photo is its own mask, and of NAME.png and NAME.mask.png the latter is the mask."""
    taken = set(map(inode, photos))
    files = [path for path in picture_files(folder) if inode(path) not in taken]
    return sorted(files, key=lambda path: path.stem.endswith(MASK))


def read_pair(job: Job, grow: int = 0) -> tuple[Photo, Tensor]:
    """The photo, and its mask (1, 1, H, W) at the photo's size, grown by so many pixels.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read, or one of the job's files cannot be written.
    """
    photo = read_photo(job.photo)
    check_writable(job.output, photo)
    for path in job.written[1:]:
        check_writable(path)
    mask = read_mask(job.mask, photo)
    if not mask.any():
        note(f"The mask {job.mask.name} has no white part, so nothing is changed: white is the hole.")
    return photo, grow_masks(check_image_and_mask(photo.rgb, mask)[1], grow)


def write_result(job: Job, photo: Photo, mask: Tensor, fills: Tensor, uncertainty: Tensor | None, average: bool = True) -> None:
    """Write a photo's fills (B, 3, H, W), and the sheet and the uncertainty maps that the job asks for.

    Args:
        average: write the mean of the fills, not every one of them (`Job.numbered`).
    """
    if average:
        fills, uncertainty = (maps if maps is None else maps.mean(0, keepdim=True) for maps in (fills, uncertainty))
    alpha = photo.alpha
    if alpha is not None:  # filled pixels become opaque
        alpha = torch.maximum(alpha, (mask[0, 0] * 255).round().to(torch.uint8))
    columns = [("picture", photo.rgb), ("hole", mark_hole(photo.rgb, mask))] if job.sheet else []
    for k, files in enumerate(job.numbered(len(fills))):
        result = torch.where(mask > 0, fills[k : k + 1].cpu(), photo.rgb)
        write_photo(files.output, replace(photo, rgb=result, alpha=alpha))
        if job.sheet:
            columns.append(("filled" if len(fills) == 1 else f"fill {k + 1}", result))
        if uncertainty is not None:
            grey = uncertainty[k : k + 1].expand(-1, 3, -1, -1).cpu()
            columns.append(("uncertainty", grey))
            if files.uncertainty:
                write_photo(files.uncertainty, Photo(grey))
    if job.sheet:
        sheet(columns, job.sheet, cell=min(MAX_CELL, photo.rgb.shape[2]))
