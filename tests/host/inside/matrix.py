"""What GradPaint is promised to do on every family of MODELs, checked on a tiny one; docs/models.md is made from it."""

from dataclasses import dataclass

import torch
from families import FAMILIES, build, prompts, scene

STEPS, SEED = 4, 5
REFUSED = {"Lotus (image to image)": "prediction type"}  # family: what the error says


@dataclass(frozen=True)
class Result:
    """How GradPaint did on a family.

    Args:
        known: largest change of a known latent. changed: share of the hole's latents that changed.
        loss: the guided loss at the first and at the last guided step, mean over the pictures.
        alone: largest difference between a picture alone and in its batch, in units of the latents' spread; None where it has no meaning.
        guider: largest difference between the guider and the sampler node. guidance: between it and plain combining.
        clean: the MODEL gets known latents without noise, so that the rim alone is compared.
    """

    known: float
    changed: float
    loss: tuple[float, float]
    alone: float | None
    guider: float
    guidance: float
    clean: bool


def parts(latents) -> list[torch.Tensor]:
    return list(latents.unbind()) if getattr(latents, "is_nested", False) else [latents]


def first_of(latents):
    """The first picture or video of a batch."""
    cut = [part[:1] for part in parts(latents)]
    return type(latents)(cut) if len(cut) > 1 else cut[0]


def sample(host, model, words, latent, cfg: float, scheduler: str, preset: str = "plus", steps: int = STEPS, sampler: str = "euler"):
    """*GradPaint Sampler*'s latents."""
    common = {"model": model, "positive": words[0], "negative": words[1], "cfg": cfg, "preset": preset, "latent_image": latent}
    settings = {"seed": SEED, "steps": steps, "sampler_name": sampler, "scheduler": scheduler, "denoise": 1.0}
    return host.call("RAI_GradPaintSampler", **common, **settings)[0]["samples"]


def by_guider(host, model, words, latent, cfg: float, scheduler: str):
    """The same through *GradPaint Guider* and the host's SamplerCustomAdvanced."""
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    picture = {"samples": latent["samples"]}
    (guider,) = host.call(
        "RAI_GradPaintGuider",
        model=model,
        cfg=cfg,
        positive=words[0],
        negative=words[1],
        picture=picture,
        mask=latent["noise_mask"],
        preset="plus",
    )
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, STEPS)
    node = host.nodes.NODE_CLASS_MAPPINGS["SamplerCustomAdvanced"]
    with torch.inference_mode():
        run = getattr(node(), node.FUNCTION)
        return run(custom.Noise_RandomNoise(SEED), guider, comfy.samplers.sampler_object("euler"), sigmas, picture)[0]["samples"]


def check(host, name: str, guidances: list) -> Result:
    """Sample two pictures (or videos) of a family under GradPaint. `guidances`: a list that gets the `GradPaint` of every run."""
    family, model, words, latent = FAMILIES[name], build(name), prompts(name), scene(name, FAMILIES[name].batch)
    how = {"cfg": 3.0 if family.cfg else 1.0, "scheduler": family.scheduler}
    out = sample(host, model, words, latent, **how)
    guidance = guidances[-1]
    losses = torch.stack(guidance.losses).mean(1)
    unguided = sample(host, model, words, latent, **how, preset="combine")
    apart = family.batch > 1 and not family.frames and not family.sound  # the host draws the sound's noise after that of all videos
    alone = sample(host, model, words, latent | {"samples": first_of(latent["samples"])}, **how) if apart else None
    guided = by_guider(host, model, words, latent, **how)
    before, after = parts(latent["samples"])[0], parts(out)[0]
    hole = host.module("nodes.host.holes").hole_in_latents(latent["noise_mask"], before.shape).expand_as(before) > 0
    largest = lambda a, b: max((x - y).abs().max().item() for x, y in zip(parts(a), parts(b), strict=True))
    return Result(
        known=(after - before)[~hole].abs().max().item(),
        changed=((after - before)[hole].abs() > 1e-3).float().mean().item(),
        loss=(losses[0].item(), losses[-1].item()),
        alone=largest(alone, first_of(out)) / parts(out)[0].std().item() if apart else None,
        guider=largest(guided, out),
        guidance=largest(unguided, out),
        clean=guidance.clean,
    )
