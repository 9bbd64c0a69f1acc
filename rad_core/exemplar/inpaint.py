"""Exemplar inpainting from picture to picture: no network and no weights, the picture's own patches are the model."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..boxes import Box
from ..depth import touches
from ..images import check_image_and_mask, check_map, check_order, check_range, clamp_mask
from ..noise import generators
from ..notes import note
from ..samplers import Callback
from ..sdm.membrane import membrane
from ..settings import resolve_settings
from .holes import HoleGroup, group_holes, with_copyable
from .progress import Progress
from .pyramid import fill_scene
from .scene import Scene, Source, references_of
from .settings import PRESETS, ExemplarSettings
from .video import ANCHORS, Filled, following, known_part, moved, neighbours

SMALLEST = 10_000  # what the search and the levels of a single pixel cost, in pixels times steps


@torch.no_grad()
def exemplar_inpaint(
    image: Tensor,
    mask: Tensor,
    settings: ExemplarSettings | str = "default",
    *,
    seed: int | Sequence[int] = 0,
    references: Tensor | Sequence[Tensor] | None = None,
    reference_masks: Tensor | Sequence[Tensor] | None = None,
    order: Tensor | None = None,
    uncertainty: Tensor | None = None,
    source_mask: Tensor | None = None,
    frames: bool = False,
    fills: int = 1,
    callback: Callback | None = None,
    **changes: object,
) -> tuple[Tensor, Tensor]:
    """Fill the hole of each picture with patches of its known part, and return how uncertain each filled pixel is.

    Args:
        image: (B, 3, H, W) in [0, 1], any size and float dtype, on any device. Pixels inside the hole are ignored, unless there is
            an `uncertainty`.
        mask: (B, 1, H, W), (B, H, W) or (H, W): 1 = hole, 0 = keep; a value between mixes the fill with the picture.
        settings: "default", "fast", "best" or an `ExemplarSettings`.
        seed: result k is drawn from seed + k, or from its entry of a list of B * fills.
        references: more pictures to take patches from, for all pictures alike: (R, 3, h, w), or a list of (3, h, w) of any sizes.
        reference_masks: one for each reference, (R, h, w) or a list of (h, w); 1 = may not be used.
        order: (H, W), (B, H, W) or (B, 1, H, W), which part of the hole is decided first: low values before high ones, of
            any range: it is stretched over each hole.
        uncertainty: the same shapes, in [0, 1]: refine an earlier fill instead of filling from nothing. The higher, the more a pixel may
            change from its present value; at 0 it is kept.
        source_mask: (H, W), (B, H, W) or (B, 1, H, W), 1 = patches may be taken from there: from nowhere else in the picture.
        frames: the pictures are the frames of a video, in order: they are each other's references, moved as the camera was, and what
            none of them shows goes on from earlier frames as they were filled.
        fills: how many fills of each picture; they come one after the other: B * fills results.
        callback: called with (step, steps, picture (1, 3, h, w) in [0, 1], the hole with its surroundings, longer side at most 512)
            at least a few times a second; raise from it to cancel.
        changes: fields of `ExemplarSettings` to change, such as patch=7.

    Returns:
        pictures (B * fills, 3, H, W), dtype and device of `image`, bit-equal to it where the mask is 0.
        deviation (B * fills, 1, H, W) in [0, 1], how uncertain each pixel is, where 1 is half the range of a colour, as `sdm_inpaint` has
        it; 0 where the mask is 0. It is the deviation of the patches' votes. With two fills or more of a picture it is the same for all
        of them, and counts how far they differ too: a better guide to the true error (docs/exemplar.md).

    Raises:
        ValueError: an argument out of its range, or a picture of which nothing is known, in one sentence.
    """
    settings = resolve_settings(settings, PRESETS, changes)
    if fills < 1:
        raise ValueError(f"fills must be at least 1, got {fills}.")
    image, mask = check_image_and_mask(image, mask)
    order = None if order is None else check_order(order, mask)
    if uncertainty is not None:
        uncertainty = check_map(uncertainty, mask, "uncertainty map")
        check_range(uncertainty, "The uncertainty map must lie between 0 (keep) and 1 (fill anew)")
        uncertainty = uncertainty.clamp(0, 1)
        if not bool(torch.isfinite(image).all()):
            raise ValueError("The fill to refine has NaN or infinite values.")
    copyable = None if source_mask is None else clamp_mask(check_map(source_mask, mask, "source mask")) >= 0.5
    shared = references_of(references, reference_masks, image)
    streams = generators(seed, len(image) * fills, "exemplar")
    hole = (mask > 0)[:, 0] if uncertainty is None else ((mask > 0) & (uncertainty > 0))[:, 0]
    served = any(_has_patch(source.known) for source in shared)
    free = ~hole if copyable is None else ~hole & copyable[:, 0]  # what may be copied
    for k in range(len(image)):
        if hole[k].all() and not served and not (frames and not hole.all()):
            raise ValueError(
                f"Nothing of picture {k + 1} is known: its mask covers all of it (grey counts). Leave some of it, or add a reference."
            )
        if copyable is not None and hole[k].any() and not (served or (free if frames else free[k]).any()):
            raise ValueError(f"The source mask leaves nothing of picture {k + 1} to take patches from: paint white what may be copied.")

    out, deviation = [], []
    groups = [group_holes(h, settings) if h.any() else [] for h in hole]
    anchors: list[list[Filled]] = [[] for _ in range(fills)]  # frames that show in their fill what none does
    progress = Progress(callback, fills * sum(_work(group, settings) for each in groups for group in each))
    for k in range(len(image)):
        for fill in range(fills):
            n = k * fills + fill
            if not groups[k]:
                out.append(image[k].clone())
                deviation.append(torch.zeros_like(mask[k]))
                continue
            filled = out[n - fills] if k else None  # the frame before
            others, before = neighbours(image, hole, copyable, filled, k, settings) if frames else ([], None)
            canvas = _Canvas(image[k], hole[k], *(None if maps is None else maps[k, 0] for maps in (order, uncertainty, copyable)))
            progress.show(canvas.colour, hole[k])
            more = False
            for group in groups[k]:
                part = progress.part(_work(group, settings))
                more |= canvas.fill(group, shared, others, anchors[fill], before, settings, streams[n], part)
            progress.show(canvas.colour, hole[k])
            colour, share = canvas.colour[:, hole[k]], mask[k, :, hole[k]]
            kept = image[k][:, hole[k]].float().masked_fill(share == 1, 0)
            out.append(image[k].clone())
            out[n][:, hole[k]] = torch.lerp(kept, (colour + 1) / 2, share).to(image.dtype)
            deviation.append(canvas.deviation[None].to(mask.dtype))
            if frames and more:
                anchors[fill] = [Filled(known_part(out[n], hole[k] | free[k])), *anchors[fill]][:ANCHORS]
    progress.finish()
    out, deviation = (maps[0][None] if len(maps) == 1 else torch.stack(maps) for maps in (out, deviation))
    return out, deviation if fills == 1 else _total_deviation(out, deviation, mask > 0, fills)


def _total_deviation(out: Tensor, deviation: Tensor, hole: Tensor, fills: int) -> Tensor:
    """Root of the mean variance of the votes within a fill plus the variance between a picture's fills (law of total variance)."""
    within = deviation.unflatten(0, (-1, fills)).square().mean(1)
    between = (2 * out.to(deviation.dtype)).unflatten(0, (-1, fills)).var(1).mean(1, keepdim=True)
    return ((within + between).sqrt().clamp(max=1) * hole).repeat_interleave(fills, 0)


class _Canvas:
    """A picture while its holes are filled one after the other."""

    def __init__(self, image: Tensor, hole: Tensor, order: Tensor | None, uncertainty: Tensor | None, copyable: Tensor | None):
        self.colour = image.float().clamp(0, 1).mul_(2).sub_(1).masked_fill_(hole, 0)
        self.content = None if uncertainty is None else image.float().clamp(0, 1) * 2 - 1
        self.open, self.order, self.uncertainty, self.copyable = hole.clone(), order, uncertainty, copyable
        self.deviation = torch.zeros(hole.shape, device=hole.device)

    def fill(
        self,
        group: HoleGroup,
        references: list[Source],
        frames: Iterable[tuple[int, Source]],
        anchors: list[Filled],
        before: Filled | None,
        settings: ExemplarSettings,
        rng: torch.Generator,
        progress: Progress,
    ) -> bool:
        """Fill some pixels from the picture, other `frames` of its video, earlier ones as they were filled, and `references`.

        Returns:
            whether some of them are in no other frame and no anchor.
        """
        box, where = group.context if self.copyable is None else with_copyable(group.context, self.copyable), group.where
        here = lambda maps: None if maps is None else box.cut(maps)
        hole = torch.zeros(box.height, box.width, dtype=torch.bool, device=self.open.device)
        y, x = where.top - box.top, where.left - box.left
        hole[y : y + where.height, x : x + where.width] = group.pixels
        unknown = here(self.open)
        near, more = [], True
        if frames or before:
            near, more = following(self.colour, ~self.open, box, hole, settings.patch, frames, anchors, before, progress.poll)
        near += [_around(source, box) for source in references]
        order, uncertainty, content = (here(maps) for maps in (self.order, self.uncertainty, self.content))
        own = Source(here(self.colour), ~unknown, copyable=here(self.copyable))
        scene = Scene([own, *near], hole, unknown & ~hole, order, uncertainty, content)
        progress.begin(where, group.pixels, box)
        for patch in dict.fromkeys((settings.patch, 3)):
            filled = fill_scene(scene, settings, patch, rng, progress)
            if filled is not None:
                break
        else:
            filled = _smooth(scene.sources[0].colour, hole, unknown)
        here(self.colour)[:, hole] = filled[0].T
        here(self.deviation)[hole] = filled[1].sqrt().clamp(0, 1)
        here(self.open)[hole] = False
        return more


def _has_patch(known: Tensor) -> bool:
    """Whether a map (h, w) has a wholly known patch of 3 pixels."""
    return min(known.shape) >= 3 and bool((~touches(~known, 3)).any())


def _around(source: Source, box: Box) -> Source:
    """What serves a hole of a reference: around the hole's place if it shows the same place and enough of it, else all of it."""
    if not source.aligned:
        return source
    near = moved(source, box)
    return near if 2 * int(near.known.sum()) >= near.known.numel() else replace(source, aligned=False)


def _smooth(colour: Tensor, hole: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """A membrane, where no patch is known: as `fill_scene`."""
    if unknown.all():
        raise ValueError("Nothing around the hole is known, and it is too narrow for patches of a reference. Leave some of the picture.")
    note("No patch around the hole is wholly known: it was filled smoothly, from the pixels around it.")
    smooth = membrane(colour[None], (~unknown).float()[None, None])[0]
    return smooth[:, hole].T.clamp(-1, 1), torch.ones(int(hole.sum()), device=hole.device)


def _work(group: HoleGroup, settings: ExemplarSettings) -> float:
    """Pixels times steps of a group, about, and what a hole costs however small it is."""
    return float(group.pixels.sum()) * settings.steps[-1] / (1 - settings.factor**-2) + SMALLEST
