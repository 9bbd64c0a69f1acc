"""A MODEL whose answer is known: latents are Gaussian, so the best fill of a hole is their conditional mean."""

import torch
from families import build
from matrix import sample

SIDE, CHANNELS, PICTURES = 8, 4, 24
KINDS = {  # prediction: a family that has it
    "noise": "SD1.5",
    "v": "SD2.1 v",
    "v, zero terminal SNR": "SDXL v, zero terminal SNR",
    "EDM": "Playground 2.5 (EDM)",
    "flow": "AuraFlow",
}


def covariance() -> torch.Tensor:
    """exp(-distance / 3) between places of a channel; channels are independent."""
    places = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), -1).reshape(-1, 2).double()
    return torch.exp(-torch.cdist(places, places) / 3)


VALUES, VECTORS = torch.linalg.eigh(covariance())


def filtered(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return (x.flatten(2).double() @ VECTORS * gain @ VECTORS.T).view_as(x).to(x.dtype)


def gaussian_model(kind: str):
    """The family's MODEL with the exact denoiser in place of its network."""
    model = build(KINDS[kind])

    def apply_model(x, t, *_, **__):
        sigma = t.double().flatten()[0]
        alpha = 1 - sigma if kind == "flow" else 1.0
        return filtered(x, alpha * VALUES / (alpha**2 * VALUES + sigma**2))

    model.model.apply_model = apply_model
    return model


def scene(model) -> dict:
    """LATENT of random pictures with a hole of 4x4 latents in the middle."""
    noise = torch.randn(PICTURES, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 2:6, 2:6] = 1
    return {"samples": model.model.process_latent_out(filtered(noise, VALUES.clamp(min=0).sqrt())), "noise_mask": mask}


def errors(host, kind: str, sampler: str, steps: int, presets=("combine", "plus"), change=lambda model: model) -> list[float]:
    """Root mean square distance of the hole to its conditional mean, by preset. change: what other nodes do to the MODEL."""
    model = change(gaussian_model(kind))
    latent = scene(model)
    picture, hole = model.model.process_latent_in(latent["samples"]), latent["noise_mask"].flatten() > 0
    c = covariance()
    mean = picture.flatten(2)[..., ~hole].double() @ torch.linalg.inv(c[~hole][:, ~hole]) @ c[~hole][:, hole]
    words = [[[torch.zeros(1, 7, 64), {"pooled_output": torch.zeros(1, 1280)}]] for _ in range(2)]
    found = []
    for preset in presets:
        out = sample(host, model, words, latent, 1.0, "normal", preset, steps, sampler)
        filled = model.model.process_latent_in(out).flatten(2)[..., hole]
        found.append((filled - mean).square().mean().sqrt().item())
    return found
