"""TAESD, the small decoder of previews, as the colours in which GradPaint compares the two sides of the hole's rim."""

import comfy.taesd.taesd
import folder_paths
import torch
from torch import Tensor

from ...rad_core.losses import Colours


class TAESDColours(Colours):
    """The picture that TAESD decodes from latents, (B, 3, 8 h, 8 w), with its gradient by backpropagation.

    Args:
        latent_format: of the host's MODEL.
        picture: (B, C, h, w), latents on the device to run on.

    Raises:
        ValueError: there is no TAESD for these latents, or its file is missing.
    """

    def __init__(self, latent_format, picture: Tensor):
        super().__init__()
        name = latent_format.taesd_decoder_name
        if name is None or not name.endswith("_decoder") or picture.ndim != 4:  # others are files of TAEHV, for the latents of videos
            raise ValueError("There is no TAESD for this MODEL's latents: set 'align in' to 'colours' in GradPaint Settings.")
        file = next((f for f in folder_paths.get_filename_list("vae_approx") if f.startswith(name)), None)
        if file is None:
            raise ValueError(
                f"The file of '{name}' is not in models/vae_approx: put it there, or set 'align in' to 'colours' in GradPaint Settings."
            )
        path = folder_paths.get_full_path("vae_approx", file)
        with torch.inference_mode(False):  # autograd refuses weights made in inference mode
            self.taesd = comfy.taesd.taesd.TAESD(None, path, latent_channels=picture.shape[1]).to(picture.device).requires_grad_(False)

    def to_colours(self, values: Tensor) -> Tensor:
        with torch.no_grad():
            return self.taesd.decode(values)

    def vjp(self, values: Tensor, gradient: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            latents = values.clone().requires_grad_()
            return torch.autograd.grad(self.taesd.decode(latents), latents, gradient.clone())[0]

    def jvp(self, values: Tensor, move: Tensor, step: float = 1e-3) -> Tensor:
        size = move.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30)
        with torch.no_grad():
            return (self.taesd.decode(values + step * move / size) - self.taesd.decode(values)) * size / step
