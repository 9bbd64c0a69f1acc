"""Clones of a MODEL on another network: torch.compile, prompts with hooks and further GPUs load the file anew where memory is dynamic."""

from collections.abc import Callable

import comfy.patcher_extension

ON_CLONE = comfy.patcher_extension.CallbacksMP.ON_CLONE
KINDS = (comfy.patcher_extension.WrappersMP.APPLY_MODEL, comfy.patcher_extension.WrappersMP.SAMPLER_SAMPLE)


def on_another_network(model, key: str, patch: Callable) -> None:
    """Patch every clone of a patched MODEL anew whose network is not that of the original.

    The host copies stand-ins and wrappers to a clone, where they would go on with the layers of the network that they were made for.

    Args:
        model: a MODEL that `patch` was called with, on a clone of an unpatched one.
        key: that of its wrappers.
        patch: puts object patches, and wrappers of the `KINDS` under the key, on a MODEL.
    """
    before = model.parent.object_patches if model.parent is not None else {}
    own = [name for name, value in model.object_patches.items() if before.get(name) is not value]

    def renew(original, clone) -> None:
        if clone.model is original.model:
            return
        for name in own:
            clone.object_patches.pop(name, None)
        for kind in KINDS:
            clone.remove_wrappers_with_key(kind, key)
        patch(clone)

    model.add_callback_with_key(ON_CLONE, key, renew)
