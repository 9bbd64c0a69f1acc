"""Exemplar inpainting: RAD's loop with the exact denoiser of a picture's own patches. No network, nothing to download."""

from .denoiser import ExemplarDenoiser
from .inpaint import exemplar_inpaint
from .posterior import patch_posterior
from .settings import PRESETS, ExemplarSettings

__all__ = ["PRESETS", "ExemplarDenoiser", "ExemplarSettings", "exemplar_inpaint", "patch_posterior"]
