"""Latents that belong to a MODEL, and seeds that the host can use."""

from torch import Tensor


def check_latents(model, latents: Tensor) -> None:
    """Check that latents (B, C, ...) are of the kind that a MODEL works on.

    Raises:
        ValueError: they come from another kind of VAE, or there are none.
    """
    if 0 in latents.shape:
        raise ValueError("The latents are an empty batch: the node before this one passed on no picture.")
    form, advice = model.get_model_object("latent_format"), "encode the picture with the VAE that belongs to the MODEL."
    if latents.shape[1] != form.latent_channels:
        raise ValueError(f"These latents have {latents.shape[1]} channels, but this MODEL works on {form.latent_channels}: {advice}")
    if latents.ndim - 2 != form.latent_dimensions:
        kinds = ("a time axis", "none") if latents.ndim == 5 else ("no time axis", "one")
        raise ValueError(f"These latents have {kinds[0]}, but this MODEL works on latents with {kinds[1]}: {advice}")


def seeds_of(seed: int, latent: dict) -> list[int] | None:
    """The seed of each picture of a LATENT that was taken out of a batch, by its place there; None for a whole batch."""
    places = latent.get("batch_index")
    return None if places is None else [seed_of(seed, k) for k in places]


def seed_of(seed: int, k: int) -> int:
    """The seed of picture k of a batch, as the host takes it: after the largest comes 0."""
    return (seed + k) % 2**64
