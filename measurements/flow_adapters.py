"""Do flow transformers inpaint better with a RAD adapter? Measured on small ones of the Flux.2, Z-Image and Qwen-Image kinds.

Run with the host's interpreter: python -m measurements.flow_adapters --family Flux.2 -o FOLDER. No model of a useful size can be trained
here, so a small one is trained first, as a plain flow model on drawn landscapes, then 'Train RAD Adapter' trains an adapter on it, and
holes of unseen landscapes are filled by the host's own samplers. What is trained is kept in FOLDER: run it again to measure again.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "host" / "inside"))
import families
from family_table import FAMILIES
from helpers import defaults, train
from host import Host

from rad_core.bench.statistics import bootstrap

SIZE = 128  # pixels of a landscape
KINDS = {  # name in `FAMILIES`, latents along a token's side, and sizes at which it learns within an hour on a core
    "Flux.2": ("Flux.2, klein", 1, {"hidden_size": 192, "num_heads": 6, "depth": 1, "depth_single_blocks": 4}),
    "Z-Image": ("Z-Image", 2, {"n_layers": 3}),
    "Qwen-Image": ("Qwen-Image, -Edit", 2, {"num_layers": 5, "num_attention_heads": 6}),
}
RANK = 64  # of the adapters
LUMA = ((1, 1, 1), (1, 0, -1), (1, -2, 1))  # orthogonal colours: brightness, and two differences


class CosineBlocks:
    """A VAE without weights: of every block's cosines the slowest, half of them of brightness, each scaled to deviation 1.

    encode takes pictures (B, H, W, 3) in [0, 1] and gives latents (B, C, [1,] H / block, W / block); decode goes back.
    """

    def __init__(self, model, block: int, shape: tuple[int, ...]):
        self.model, self.block, self.timed = model, block, len(shape) == 4
        at = torch.arange(block).double()
        cosines = torch.cos(torch.pi / block * (at[None] + 0.5) * at[:, None]) * (2 / block) ** 0.5
        cosines[0] /= 2**0.5
        slow = sorted(((i, j) for i in range(block) for j in range(block)), key=lambda ij: (ij[0] + ij[1], abs(ij[0] - ij[1])))
        colours = F.normalize(torch.tensor(LUMA).double(), dim=1)
        counts = (shape[0] // 2, shape[0] // 4, shape[0] // 4)
        rows = [torch.einsum("c,h,w->chw", colours[k], cosines[i], cosines[j]) for k, n in enumerate(counts) for i, j in slow[:n]]
        self.kernel = torch.stack(rows).float()  # orthonormal: its transpose decodes
        self.mean, self.deviation = torch.zeros(1, shape[0], 1, 1), torch.ones(1, shape[0], 1, 1)
        values = self._project(_landscapes(512, 2**41).movedim(1, -1))
        self.mean = values.mean((0, 2, 3), keepdim=True)
        self.deviation = values.std((0, 2, 3), keepdim=True)

    def _project(self, image: Tensor) -> Tensor:
        values = F.conv2d(image.movedim(-1, 1) * 2 - 1, self.kernel, stride=self.block)
        return (values - self.mean) / self.deviation

    def encode(self, image: Tensor) -> Tensor:
        values = self._project(image)
        return self.model.model.process_latent_out(values[:, :, None] if self.timed else values)

    def decode(self, latents: Tensor) -> Tensor:
        values = self.model.model.process_latent_in(latents)
        values = (values[:, :, 0] if self.timed else values) * self.deviation + self.mean
        return (F.conv_transpose2d(values, self.kernel, stride=self.block) / 2 + 0.5).movedim(1, -1)


def _landscapes(count: int, seed: int) -> Tensor:
    from rad_core import landscapes

    return torch.cat([landscapes(min(256, count - k), SIZE, seed=seed + k) for k in range(0, count, 256)])


def pretrain(host, model, vae: CosineBlocks, words: list, plan: dict, log_file: Path, count: int = 4096) -> None:
    """Make a plain flow model of random weights, in place: RAD's first phase under masks that are all hole."""
    flow = host.module("nodes.host.flow_training")
    diffusion, loop, log = (host.module(f"rad_core.training.{name}") for name in ("diffusion", "loop", "log"))
    net = flow.FlowNetwork.of(model)
    _fresh_weights(net.net)
    latents = vae.encode(_landscapes(count, 2**40).movedim(1, -1))
    latents = list(model.model.process_latent_in(latents)[:, None])
    conds = [flow.conds_of(model, words[0][0], words[0][1], latents[0], torch.clone)] * count
    net.requires_grad_(True)
    plan = diffusion.TrainingPlan(
        [loop.Stage(latents[0].shape[-1], plan["steps"], plan["batch"])], plan["rate"], prediction="flow", phases=1
    )
    everywhere = lambda n, height, width, seed, device="cpu": torch.ones(n, 1, height, width, device=device)
    pictures = flow.FlowPictures(latents, conds)
    schedule = host.module("nodes.host.trainable").schedule_of(model)
    with flow.in_training():
        method = diffusion.DiffusionTraining(net, pictures.load_batch, plan, schedule, everywhere)
        loop.train(method, plan, log.Log(log_file), lambda: None)
        with method.ema.applied(), torch.no_grad():
            trained = {name: value.detach().clone() for name, value in net.net.named_parameters()}
    own = dict(model.model.diffusion_model.named_parameters())
    for name, value in trained.items():
        own[name].data.copy_(value)


def _fresh_weights(net: torch.nn.Module) -> None:
    """Weights as training begins with them: layers at their own scale, norms at 1."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, values in net.named_parameters():
            if values.ndim >= 2:
                torch.nn.init.trunc_normal_(values, std=0.5 * values[0].numel() ** -0.5)
            else:
                values.fill_(float(name.endswith(("weight", "scale"))))


def adapter(host, base, vae: CosineBlocks, words: list, options: argparse.Namespace):
    """The MODEL with its adapter, which is trained where it is not kept from before."""
    kept, own = options.output / f"{options.family}.adapter.safetensors", host.base / "models" / "rad_adapters" / "latent"
    if kept.exists():
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, own)
        return host.call("RAI_LoadRADAdapter", model=base, adapter_name=f"latent/{kept.name}", strength=1.0)[0]
    settings = {"images": _landscapes(2048, 2**42).movedim(1, -1), "vae": vae, "positive": words, "size": SIZE, "rank": RANK}
    settings |= {"steps": options.adapter_steps, "batch_size": options.batch, "learning_rate": 1e-3}
    adapted, *_ = train(host, base, adapter_name=options.family, **settings)
    shutil.copy(own / f"{options.family}.safetensors", kept)
    return adapted


def fillers(host, base, adapted, words: list) -> dict[str, Callable]:
    """Ways to fill a LATENT with a noise mask: (latent, steps) -> latents."""
    k_sample = lambda model: (
        lambda latent, steps: host.nodes.common_ksampler(model, 3, steps, 1.0, "euler", "simple", words, words, latent)[0]["samples"]
    )
    shared = {"positive": words, "negative": words, "seed": 3, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}
    gradpaint = defaults(host, "RAI_GradPaintSampler") | shared | {"model": base}

    def guided(latent, steps):
        return host.call("RAI_GradPaintSampler", **gradpaint | {"latent_image": latent, "steps": steps})[0]["samples"]

    def soft(latent, steps):
        """DifferentialDiffusion, as it is used: with a mask whose edge is blurred."""
        (model,) = host.call("DifferentialDiffusion", model=base)
        mask = latent["noise_mask"]
        flat = mask.flatten(1, -3)
        blurred = F.avg_pool2d(F.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return k_sample(model)(latent | {"noise_mask": torch.maximum(flat, blurred).view_as(mask)}, steps)

    return {"KSampler": k_sample(base), "DifferentialDiffusion": soft, "GradPaint": guided, "RAD adapter": k_sample(adapted)}


def holes(host, count: int, side: int, patch: int) -> Tensor:
    """Boxes and Perlin masks in turn, whole tokens each: (count, 1, side, side)."""
    masks, small = host.module("rad_core.masks"), side // patch
    each = (count + 1) // 2
    kinds = (masks.box_masks(each, small, small, seed=4), masks.perlin_masks(each, small, small, seed=4, area=0.4))
    return torch.stack(kinds, 1).flatten(0, 1)[:count].repeat_interleave(patch, 2).repeat_interleave(patch, 3)


def measure(host, vae, patch: int, base, adapted, words: list, count: int, steps: list[int], sheet_file: Path) -> dict[str, dict]:
    """Scores of each filler at each number of steps, per picture, and a sheet of the first fills."""
    metrics, scene, synthetic = (host.module(f"rad_core.{name}") for name in ("metrics", "bench.scene", "synthetic"))
    sheets, reader = host.module("rad_core.sheets"), scene.load_reader()
    latents = vae.encode(_landscapes(count, synthetic.UNSEEN).movedim(1, -1))
    mask = holes(host, count, latents.shape[-1], patch)
    mask = mask[:, :, None] if vae.timed else mask  # the host takes masks (B, 1, h, w) for the frames of one video there
    pictures = lambda values: vae.decode(values).clamp(0, 1).movedim(-1, 1)
    truth, hole = pictures(latents), mask.view(count, 1, *mask.shape[-2:]).repeat_interleave(vae.block, 2).repeat_interleave(vae.block, 3)
    half = lambda picture: F.avg_pool2d(picture, 2)
    rows, columns = {}, [("picture", truth[:6]), ("hole", sheets.mark_hole(truth[:6], hole[:6]))]
    for name, fill in fillers(host, base, adapted, words).items():
        for n in steps:
            out = torch.where(hole > 0, pictures(fill({"samples": latents, "noise_mask": mask}, n)), truth)
            found = {
                "hole RMSE": metrics.hole_rmse(out, truth, hole),
                "perceptual": scene.perceptual_distance(reader, half(out), half(truth)),
                "seam": metrics.seam(out, truth, hole),
            }
            rows[f"{name}, {n} steps"] = {key: [round(v, 5) for v in values.tolist()] for key, values in found.items()}
            print(f"{name}, {n} steps", {key: round(float(values.median()), 4) for key, values in found.items()}, flush=True)
        columns.append((f"{name}, {n}", out[:6]))
    sheets.sheet(columns, sheet_file)
    return rows


def differences(rows: dict[str, dict], ours: str = "RAD adapter") -> list[str]:
    """A line for every row that is not ours: our mean less its mean at as many steps, with 95 % intervals over the pictures."""
    lines = []
    for label, row in rows.items():
        name, steps = label.rsplit(", ", 1)
        if name != ours:
            cells = [f"{key} {_interval(rows[f'{ours}, {steps}'][key], row[key])}" for key in row]
            lines.append(f"{ours} less {label}: {', '.join(cells)}")
    return lines


def _interval(a: list[float], b: list[float]) -> str:
    change = torch.tensor(a) - torch.tensor(b)
    low, high = bootstrap(lambda picks: float(change[picks].mean()), len(change))
    return f"{change.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=list(KINDS), required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder outside the repository")
    parser.add_argument("--steps", type=int, default=1000, help="of plain training (default: 1000)")
    parser.add_argument("--adapter-steps", type=int, default=500, help="default: 500")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("-n", type=int, default=64, help="unseen landscapes (default: 64)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    name, patch, sizes = KINDS[options.family]
    FAMILIES[name] = replace(FAMILIES[name], config=FAMILIES[name].config | sizes)
    host, began = Host(), time.perf_counter()
    base, words = families.build(name), families.prompts(name)[0]
    if options.family == "Flux.2":  # which fills every prompt up to 512 tokens: eight times the pictures' here
        base.model.extra_conds = super(type(base.model), base.model).extra_conds
    print(options.family, sum(p.numel() for p in base.model.diffusion_model.parameters()), "parameters", flush=True)
    vae, plain = CosineBlocks(base, FAMILIES[name].block, FAMILIES[name].shape), options.output / f"{options.family}.pt"
    if plain.exists():
        base.model.diffusion_model.load_state_dict(torch.load(plain, weights_only=True))
    else:
        plan = {"steps": options.steps, "batch": options.batch, "rate": 1e-3}
        pretrain(host, base, vae, words, plan, plain.with_suffix(".csv"))
        torch.save(base.model.diffusion_model.state_dict(), plain)
        print(f"plain model: {time.perf_counter() - began:.0f} s", flush=True)
    adapted = adapter(host, base, vae, words, options)
    print(f"adapter: {time.perf_counter() - began:.0f} s", flush=True)
    rows = measure(host, vae, patch, base, adapted, words, options.n, [8, 20], options.output / f"{options.family}.png")
    (options.output / f"{options.family}.json").write_text(json.dumps(rows, indent=1))
    print("\n".join(differences(rows)))


if __name__ == "__main__":
    main()
