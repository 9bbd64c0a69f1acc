"""The methods that are measured, by name: (picture uint8 (H, W, 3), hole bool (H, W), options) -> filled picture uint8.

Everything that a method needs is imported in it, so that a method which is not installed spoils no other.
"""

import importlib.util
from argparse import Namespace
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from . import exemplar_variants
from .exemplar_variants import exemplar_settings, to_picture, to_tensors

Method = Callable[[np.ndarray, np.ndarray, Namespace], np.ndarray]


def telea(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    import cv2

    return cv2.inpaint(picture, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def navier_stokes(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    import cv2

    return cv2.inpaint(picture, hole.astype(np.uint8), 3, cv2.INPAINT_NS)


def biharmonic(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    from skimage.restoration import inpaint_biharmonic

    return (inpaint_biharmonic(picture / 255, hole, channel_axis=-1).clip(0, 1) * 255).round().astype(np.uint8)


def pypatchmatch(picture: np.ndarray, hole: np.ndarray, options: Namespace, radius: int = 7) -> np.ndarray:
    """PyPatchMatch; its `patch_size` is a radius: 7 compares 15x15 pixels, 3 compares 7x7."""
    from patchmatch import inpaint, set_random_seed

    set_random_seed(options.seed)
    return inpaint(picture, hole, patch_size=radius)


def pypatchmatch_3(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    return pypatchmatch(picture, hole, options, radius=3)


def patchmatch_cython(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    from patchmatch_cython import inpaint_pyramid

    return inpaint_pyramid(picture, hole, seed=options.seed)


def patchmatch_cython_7(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    from patchmatch_cython import inpaint_pyramid

    return inpaint_pyramid(picture, hole, patch_size=7, em_loops=4, seed=options.seed)


def proof(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    """The working proof, a file named by --proof."""
    return _load(options.proof).fill(picture, hole, seed=options.seed, **options.set)[0]


def exemplar(picture: np.ndarray, hole: np.ndarray, options: Namespace) -> np.ndarray:
    """The package's own, with --preset and --set."""
    from rad_core import exemplar_inpaint

    filled, _ = exemplar_inpaint(*to_tensors(picture, hole), seed=options.seed, settings=exemplar_settings(options))
    return to_picture(filled)


METHODS: dict[str, Method] = {
    "telea": telea,
    "navier-stokes": navier_stokes,
    "biharmonic": biharmonic,
    "patchmatch-cython": patchmatch_cython,
    "patchmatch-cython-7": patchmatch_cython_7,
    "pypatchmatch": pypatchmatch,
    "pypatchmatch-3": pypatchmatch_3,
    "proof": proof,
    "exemplar": exemplar,
    "exemplar-sdm": exemplar_variants.sdm,
    "exemplar-sdm-spread": exemplar_variants.sdm_spread,
    "exemplar-second-run": exemplar_variants.second_run,
    "exemplar-second-run-aligned": exemplar_variants.second_run_aligned,
    "exemplar-mirrored": exemplar_variants.mirrored,
    "exemplar-turned": exemplar_variants.turned,
    "exemplar-scaled": exemplar_variants.scaled,
}
OWN = tuple(name for name in METHODS if name.startswith("exemplar"))  # of the package at --package
ADJUSTABLE = (*OWN, "proof")  # take --set


@lru_cache
def _load(path: str):
    spec = importlib.util.spec_from_file_location("proof", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
