"""A guard against hosts whose networks changed: once per MODEL, on a few tokens, the map must have its effect."""

import torch
from torch import Tensor

from ....rad_core.losses import append_dims

TESTED = ("0.3.64", "0.33.0")  # hosts that the pack's tests ran on


def check_once(per_token, executor, x: Tensor, t: Tensor, others: tuple, conds: dict) -> None:
    """Compare a constant map with the plain model at that level, on the first tokens of a state. Untested hosts only.

    A network that ignores the map answers as the plain model does at the scalar level: the result must be nearer to the right answer
    than that is.

    Raises:
        RuntimeError: the map has no effect.
    """
    if host_version() in TESTED:
        return
    sides = [min(size, 4 * patch) for size, patch in zip(x.shape[-2:], per_token.family.patch[1:], strict=True)]
    cut = lambda value: value[..., : sides[0], : sides[1]] if _is_map(value, x) else value
    small, conds = cut(x), {name: cut(value) for name, value in conds.items()}
    concat, context, _, options = others
    others, level = (cut(concat), context, None, options), 0.5 * t
    right = executor(small, level, *others, **conds)
    share = append_dims(level / t, x)
    ignored = small - (small - executor(small, t, *others, **conds)) * share
    levels = append_dims(level, x).expand(-1, 1, *small.shape[2:])
    mapped = per_token.mapped(executor, small, t, levels, others, conds)
    if bool((mapped - right).square().mean() > 0.25 * (ignored - right).square().mean()):
        raise RuntimeError(
            f"This version of ComfyUI ({host_version()}) has changed {type(executor.class_obj.diffusion_model).__name__}, so that "
            "'RAD Spatial Noise Embedding' has no effect: update the pack Region-aware Inpainting, or remove the node."
        )


def host_version() -> str:
    try:
        from comfyui_version import __version__
    except ImportError:
        return "unknown"
    return __version__


def _is_map(value, x: Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == x.ndim and value.shape[-2:] == x.shape[-2:]
