"""Uncertainty as a picture: a heat map over the photograph it belongs to."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# From certain to uncertain: evenly spaced colours that grow lighter all the way, so that they read in grey too.
COLOURS = torch.tensor([[0.0, 0.0, 0.25], [0.35, 0.05, 0.5], [0.75, 0.15, 0.4], [0.95, 0.4, 0.15], [1.0, 0.75, 0.2], [1.0, 1.0, 0.8]])
SMALLEST = 160  # width in pixels of a picture that has room for a legend
TOP = 0.99  # without a given scale, this share of the uncertain pixels is below the lightest colour


def heat_map(image: Tensor, uncertainty: Tensor, scale: float = 0.0, legend: bool = True) -> tuple[Tensor, float]:
    """Lay uncertainty as colours over a picture.

    Args:
        image: (B, 3, H, W) in [0, 1].
        uncertainty: (B, 1, H, W), 0 = certain, 1 = half the range of a colour. Pixels of exactly 0 show the picture, in grey.
        scale: the uncertainty that gets the lightest colour; 0 takes one that suits the maps.
        legend: draw a scale into the lower left corner, where there is room for it.

    Returns:
        (B, 3, H, W) in [0, 1], and the scale that was used.

    Raises:
        ValueError: NaN or infinite uncertainties.
    """
    if not bool(torch.isfinite(uncertainty).all()):
        raise ValueError("The uncertainty map has NaN or infinite values.")
    scale = scale if scale > 0 else _top(uncertainty[uncertainty > 0])
    level = (uncertainty / scale).clamp(0, 1).float()
    grey = 0.7 * image.float().nan_to_num(0).clamp(0, 1).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    shown = torch.where(uncertainty > 0, torch.lerp(grey, colour(level), 0.75), grey)
    return (_with_legend(shown, scale) if legend and image.shape[3] >= SMALLEST else shown), scale


def _top(touched: Tensor) -> float:
    """A scale that leaves only the strongest few of these values (k,) at the lightest colour."""
    return float(np.quantile(touched.float().cpu().numpy(), TOP)) if touched.numel() else 1.0


def colour(level: Tensor) -> Tensor:
    """(B, 1, H, W) in [0, 1] -> the heat's colours (B, 3, H, W)."""
    place = level[:, 0] * (len(COLOURS) - 1)
    below = place.long().clamp(max=len(COLOURS) - 2)
    colours = COLOURS.to(level)
    return torch.lerp(colours[below], colours[below + 1], (place - below)[..., None]).movedim(-1, 1)


def _with_legend(pictures: Tensor, scale: float) -> Tensor:
    """Draw the scale, as percent of a colour's range, into the lower left corner."""
    height, width = pictures.shape[2:]
    size = max(11, width // 32)
    font, long, margin = ImageFont.load_default(size=size), width // 3, size // 2
    texts = ("certain", f"{50 * scale:.3g} % of a colour's range")
    out = []
    for picture in pictures.cpu():
        canvas = Image.fromarray((picture * 255).round().byte().movedim(0, 2).contiguous().numpy())
        draw = ImageDraw.Draw(canvas)
        draw.rectangle((0, height - 3 * size, long + 2 * margin + draw.textlength(texts[1], font), height), fill="black")
        bar = colour(torch.linspace(0, 1, long).view(1, 1, 1, -1).expand(-1, -1, size, -1))[0]
        canvas.paste(Image.fromarray((bar * 255).round().byte().movedim(0, 2).contiguous().numpy()), (margin, height - size - margin))
        draw.text((margin, height - 3 * size + 2), texts[0], fill="white", font=font)
        draw.text((margin + long + margin, height - size - margin - 2), texts[1], fill="white", font=font)
        out.append(torch.from_numpy(np.array(canvas)).movedim(2, 0))
    return torch.stack(out).to(pictures) / 255
