"""The picture's own patches as the model: what stands in the hole is made of what stands around it. No network."""

from comfy_api.latest import io
from torch import Tensor

from ..rad_core import exemplar_inpaint
from ..rad_core.exemplar import PRESETS
from ..rad_core.images import check_image_and_mask
from ..rad_core.masks import grow_masks
from . import inputs
from .host.device import on_device, to_host
from .host.progress import Progress
from .host.run import in_batches
from .host.schema import search_aliases
from .pictures import check_count, entries, image_of, mask_of, match_counts, optional_map, painted, picture_of

FRAMES_ADVICE = "Its frames are all there at once: connect fewer, or smaller ones."
ADVICE = "Choose the preset 'fast' or a smaller picture."


class FillFromPicture(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_FillFromPicture",
            display_name="Fill from Picture (Remove, Erase)",
            category="region-aware inpainting",
            description="Removes what the mask covers and fills the hole with the picture's own patches: sky, water, grass, walls. Works "
            "at any size, in seconds, without a network. Pixels outside the mask come back bit-identical.",
            inputs=[
                inputs.image(),
                inputs.mask("White is removed and filled; grey mixes fill and picture. One mask may serve many pictures, and the reverse."),
                inputs.seed("Another seed, another fill. Fill k of a batch gets seed + k, counted from 0."),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="default",
                    tooltip="How thoroughly patches are searched. fast: for a first look and very large holes. best: for the final "
                    "picture.",
                ),
                io.Int.Input(
                    "grow",
                    default=0,
                    min=0,
                    max=64,
                    tooltip="Grow the hole by this many pixels. 2 to 8 help where scraps of an object or its shadow are left at the rim. "
                    "0 changes no pixel outside your mask.",
                ),
                io.Int.Input("fills", default=1, min=1, max=64, tooltip="How many fills of each picture; they come one after the other."),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="More pictures to take patches from: the same place in another photo, or a texture you like.",
                ),
                io.Mask.Input("reference_mask", optional=True, tooltip="White parts of the reference are not used."),
                inputs.order(),
                io.Mask.Input(
                    "uncertainty",
                    optional=True,
                    tooltip="To refine an earlier fill, which you connect to image: black stays as it is, grey is changed a little, white "
                    "is filled anew.",
                ),
                inputs.frames(),
                io.Mask.Input(
                    "source_mask",
                    optional=True,
                    tooltip="Patches are taken from its white parts alone. Paint the texture that you want in the hole.",
                ),
            ],
            outputs=[
                io.Image.Output(),
                io.Mask.Output(
                    display_name="uncertainty",
                    tooltip="How much the patches over each pixel disagree: black is certain, white is half the range of a colour or more.",
                ),
            ],
            **search_aliases(
                "remove", "erase", "fill", "heal", "content-aware", "clean up", "inpaint", "object removal", "patch", "clone", "retouch"
            ),
        )

    @classmethod
    def execute(
        cls,
        image,
        mask,
        seed,
        preset="default",
        grow=0,
        fills=1,
        reference=None,
        reference_mask=None,
        order=None,
        uncertainty=None,
        frames=False,
        source_mask=None,
    ) -> io.NodeOutput:
        picture, alpha = picture_of(image)
        picture, hole = check_image_and_mask(*match_counts(picture, mask_of(mask)))
        hole, count = grow_masks(hole, grow), len(picture)
        order, uncertainty = optional_map(order, "order map"), optional_map(uncertainty, "uncertainty map")
        check_count(order, count, "order map")
        check_count(uncertainty, count, "uncertainty map")
        sources = painted(source_mask, count, "source mask")
        references, reference_masks = _references(reference, reference_mask)
        report = Progress(count)

        def fill(start: int, stop: int) -> tuple[Tensor, Tensor]:
            maps = (entries(maps, start, stop) for maps in (order, uncertainty, sources))
            pictures, holes, parts, content, copyable, shared = on_device(picture[start:stop], hole[start:stop], *maps, references)
            out, deviation = exemplar_inpaint(
                pictures,
                holes,
                settings=preset,
                seed=[seed + k for k in range(start * fills, stop * fills)],
                references=shared,
                reference_masks=reference_masks,
                order=parts,
                uncertainty=content,
                source_mask=copyable,
                frames=frames,
                fills=fills,
                callback=report.part(start, stop),
            )
            return to_host(out), to_host(deviation[:, 0])

        out, deviation = in_batches(lambda *_: fill(0, count), 1, FRAMES_ADVICE, "one video") if frames else in_batches(fill, count, ADVICE)
        alpha, hole = (maps if maps is None else maps.expand(count, -1, -1, -1).repeat_interleave(fills, 0) for maps in (alpha, hole))
        return io.NodeOutput(image_of(out, alpha, hole), deviation)


def _references(reference: Tensor | None, mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Reference pictures (R, 3, h, w) and their masks (R, h, w), if any.

    Raises:
        ValueError: a mask without a reference, or counts that do not fit.
    """
    if reference is None:
        if mask is not None:
            raise ValueError("There is a reference mask without a reference: connect the picture too, or disconnect the mask.")
        return None, None
    pictures = picture_of(reference)[0]
    masks = painted(mask, len(pictures), "reference mask")
    return pictures, None if masks is None else masks[:, 0].expand(len(pictures), -1, -1)
