"""Do latent models inpaint better with a RAD adapter? Measured on small ones of SD1.5's and of SDXL's kind.

Run with the host's interpreter: python -m measurements.latent_adapters. No latent model of a useful size is small enough to
train here, so each is trained first, as a plain denoiser, on toy pictures of one colour each, any colour. Then 'Train RAD Adapter'
trains an adapter on it, and the host's KSampler fills holes of pictures that neither has seen. They predict v: trained so shortly for the
noise, such networks predict nothing useful at high noise, and deterministic samplers drift.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "host" / "inside"))
from helpers import Blocks, ksample_latents, prompt, tiny_model, train
from host import PACK, Host

SIZE, COUNT = 64, 64  # pixels of a toy picture; how many to test on


class Wide(Blocks):
    """Latents of about the width of a real VAE's, 1 after the model's scaling."""

    def encode(self, image):
        return 8 * super().encode(image)

    def decode(self, latents):
        return super().decode(latents / 8)


def toys(count: int, seed: int) -> torch.Tensor:
    """IMAGE (count, SIZE, SIZE, 3)."""
    return torch.rand(count, 1, 1, 3, generator=torch.Generator().manual_seed(seed)).expand(-1, SIZE, SIZE, -1).clone()


def pretrain(host, model, kind: str, steps: int) -> None:
    """Make a denoiser of random weights, in place."""
    latent, run = host.module("nodes.host.latent_training"), host.module("nodes.host.train_adapter")
    diffusion = host.module("rad_core.training.diffusion")
    loop, log, data = (host.module(f"rad_core.training.{name}") for name in ("loop", "log", "data"))
    latents = latent.encode(model, Wide(), toys(1024, 1).movedim(-1, 1))
    keep = host.module("rad_core.training.store").TensorStore(2**40).keep
    conds = [latent.conds_of(model, *prompt(kind)[0], latents.shape[2:], keep)]
    with torch.inference_mode(False), torch.enable_grad():
        net = run.copy_of(model, "float32")[0]
        with host.module("rad_core.noise").seeded(0):
            for layer in net.modules():
                for plain in (torch.nn.Conv2d, torch.nn.Linear, torch.nn.GroupNorm, torch.nn.LayerNorm):
                    if isinstance(layer, plain):
                        plain.reset_parameters(layer)
        net.requires_grad_(True)
        plan = diffusion.TrainingPlan([loop.Stage(latents.shape[-1], steps, 16)], 1e-3, region=False, prediction="v")
        pictures = latent.LatentPictures([keep(x[None]) for x in latents], conds * 1024)
        method = diffusion.DiffusionTraining(net, pictures.load_batch, plan, run.schedule_of(model), data.mask_source("perlin"))
        loop.train(method, plan, log.Log(), lambda: None)
        with method.ema.applied():
            trained = {key: value.detach().clone() for key, value in net.unet.state_dict().items()}
    with torch.inference_mode():
        model.model.diffusion_model.load_state_dict(trained)


def measure(host, kind: str, plain_steps: int, adapter_steps: int) -> dict[str, float]:
    """Mean hole RMSE in latents as a multiple of their standard deviation, over boxes and Perlin masks."""
    base, vae = tiny_model(host, kind, v_prediction=True), Wide()
    pretrain(host, base, kind, plain_steps)
    options = {"images": toys(1024, 2), "vae": vae, "positive": prompt(kind), "size": SIZE, "steps": adapter_steps, "batch_size": 16}
    with_adapter, *_ = train(host, base, **options, rank=16, learning_rate=1e-3, adapter_name=f"toy {kind}")
    latents, side = vae.encode(toys(COUNT, 3)), SIZE // 8
    core = host.module("rad_core.masks")
    mask = torch.cat([core.box_masks(COUNT // 2, side, side, seed=4), core.perlin_masks(COUNT // 2, side, side, seed=4, area=0.5)])
    (embedded,) = host.call("RAI_RADSpatialNoiseEmbedding", model=base)
    models = {"KSampler alone": base, "with the noise level per pixel": embedded, "with the trained adapter": with_adapter}
    found = {}
    for name, model in models.items():
        out = ksample_latents(host, model, kind, latents, mask, steps=20)
        error = ((out - latents).square().mean(1, keepdim=True) * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))
        found[name] = float(error.sqrt().mean() / latents.std())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=PACK / "docs" / "results" / "latent_adapters.json")
    parser.add_argument("--kinds", nargs="+", choices=["SD15", "SDXL"], default=["SD15", "SDXL"])
    parser.add_argument("--plain-steps", type=int, default=1000)
    parser.add_argument("--adapter-steps", type=int, default=2400)
    options = parser.parse_args()
    host, rows = Host(), {}
    for kind in options.kinds:
        began = time.perf_counter()
        rows[kind] = measure(host, kind, options.plain_steps, options.adapter_steps)
        print(kind, rows[kind], f"{time.perf_counter() - began:.0f} s", flush=True)
    host.module("rad_core.metrics").save_table(rows, options.output)


if __name__ == "__main__":
    main()
