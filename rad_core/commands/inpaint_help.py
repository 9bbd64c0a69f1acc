"""What the options of `inpaint` are for, by the name of the setting or argument."""

from .. import sdm
from ..samplers import SAMPLERS, STEPS
from ..settings import VIEWS

VIEW_HELP = {
    "view": "what the network sees: the hole and its surroundings, the whole picture (both resized), the whole picture at its native size, "
    "or auto, the network's own way",
    "context": "with --view hole: what is shown on each side of the hole, as a multiple of its longer side",
}
SAMPLING_HELP = {
    "steps": f"of the sampler (default: {', '.join(f'{steps} for {name}' for name, steps in STEPS.items())})",
    "sampler": "ddpm is the papers'",
    "eta": "noise of ddim, 0 to 1",
    "detail": "where hole and surroundings are larger than the network's size, the enlarged fill is redrawn at twice that size; more "
    "changes it more, 0: it is only enlarged, and looks soft",
    **VIEW_HELP,
}
RAD_HELP = {
    **SAMPLING_HELP,
    "align": "how far the jumps across the hole's rim are brought to those beside it, 0 (as in the paper) to 1",
    "overlap": "with --order: 0 finishes a part before the next begins, 1 fills all at the same time",
}
SDM_HELP = {
    "iterations": "passes of the network; more than 10 gain nothing",
    "schedule": "how much of the hole is decided after each pass",
    "alpha": "noise of pixels that may still change, as a multiple of their deviation, 0 to 1",
    "anchor": "how far predictions are shifted to meet the known pixels, 0 (as in the paper) to 1",
    "memory": "weight of earlier passes in each prediction, 0 (as in the paper) to below 1",
    "refresh": "repaint decided pixels in every pass, as in the paper, or keep them",
    **VIEW_HELP,
    "view": "what the network sees: the hole and its surroundings (hole or auto), the whole picture (both resized), or the whole picture "
    "at its native size",
}
EXEMPLAR_HELP = {
    "patch": "side of a patch in pixels, odd; 7 or 9 keeps larger structures together, and takes longer",
    "near": "how much sources near the hole are preferred; 0 not at all",
    "reach": "how far around the hole patches are taken from, as a multiple of the hole's thickness",
}
MASKS_HELP = {
    "context_mask": "white = what the network may look at; the hole's surroundings elsewhere are hidden from it",
    "stitch_mask": "white = where the fill is put into the photo, in place of the hole's mask",
}
CHOICES = {"sampler": list(SAMPLERS), "schedule": list(sdm.SCHEDULES), "view": list(VIEWS)}
