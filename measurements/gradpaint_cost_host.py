"""What *GradPaint Inpaint* costs beside the host's KSampler, on large MODELs with random weights, on a CPU under Linux.

`COMFYUI_PATH=~/comfy/ComfyUI ~/comfy/ComfyUI/.venv/bin/python measurements/gradpaint_cost_host.py sdxl -o docs` adds its figures to
results/gradpaint_cost_host.json there; `wan` instead of `sdxl` takes a video's latents of true size, but a tiny network, whose own memory
is so small that the guidance's shows: the true network's is added by counting.

Time and peak memory of whole runs in one process, in turns; cfg 1, so that a step of KSampler is one network call.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "host" / "inside")]
STEPS, FRAMES, HEIGHT, WIDTH = 2, 81, 480, 832
# 1.3 B parameters and the widest activation of a layer (tokens x 8960) and its input (tokens x 1536), in two bytes: less than it needs
WAN_BYTES = 2 * (1.3e9 + 21 * 30 * 52 * (8960 + 1536))


def large_sdxl(depth: int, dtype: torch.dtype):
    """A MODEL of SDXL's widths; with its own depth of 10, 2.57 B parameters."""
    import families

    sizes = {"model_channels": 320, "channel_mult": [1, 2, 4], "num_res_blocks": [2, 2, 2], "context_dim": 2048, "num_head_channels": 64}
    sizes |= {"transformer_depth": [0, 0, 2, 2, depth, depth], "transformer_depth_middle": depth}
    sizes |= {"transformer_depth_output": [0, 0, 0, 2, 2, 2, depth, depth, depth]}
    tiny = families.FAMILIES["SDXL"]
    families.FAMILIES["SDXL"] = replace(tiny, config=tiny.config | sizes, text=(77, 2048))
    model = families.build("SDXL", dtype)
    # torch's bfloat16 convolution is 15 times as slow in the other layout on a processor that has no such arithmetic
    model.model.diffusion_model.to(memory_format=torch.channels_last)
    return model, families.prompts("SDXL")


def measured(run) -> tuple[float, float]:
    """Seconds of the processor and peak memory in bytes of the process, weights included."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.process_time()
    run()
    seconds = time.process_time() - began
    return seconds, 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])


def sdxl(host, depth: int, dtype: torch.dtype, rounds: int) -> dict:
    from helpers import Blocks

    Blocks.spacial_compression_encode = lambda self: 8
    model, words = large_sdxl(depth, dtype)
    vae, stream = Blocks(), torch.Generator().manual_seed(0)
    image, mask = torch.rand(1, 512, 512, 3, generator=stream), torch.zeros(1, 512, 512)
    mask[:, 160:352, 160:352] = 1
    common = {"model": model, "positive": words[0], "negative": words[1], "seed": 1, "steps": STEPS, "cfg": 1.0, "denoise": 1.0}
    common |= {"sampler_name": "euler", "scheduler": "normal"}
    latent = {"samples": vae.encode(image), "noise_mask": mask[:, None]}
    run = {"KSampler": lambda: host.nodes.KSampler().sample(**common, latent_image=latent)}
    whole = common | {"vae": vae, "image": image, "mask": mask, "size": 512, "context": 10.0}
    for preset in ("turbo", "plus"):
        run[preset] = lambda preset=preset: host.call("RAI_GradPaintInpaint", **whole, preset=preset)
    parameters = sum(p.numel() for p in model.model.parameters())
    return {"parameters": parameters} | in_turns(run, rounds)


def wan(host, rounds: int) -> dict:
    import comfy.ldm.wan.model
    import families
    from matrix import sample

    name = "Wan 2.1, 2.2 14B"
    model, words = families.build(name), families.prompts(name)
    comfy.ldm.wan.model.optimized_attention = lambda q, k, v, **_: q  # 32,760 tokens of attention take a CPU hours, and no memory
    frames = (FRAMES - 1) // 4 + 1
    mask = torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., 160:320, 240:480] = 1
    latent = {"samples": families.smooth_latents((16, frames, HEIGHT // 8, WIDTH // 8)), "noise_mask": mask}
    plan = {"scheduler": "simple", "steps": STEPS, "cfg": 1.0}
    common = {"model": model, "positive": words[0], "negative": words[1], "seed": 1, "denoise": 1.0, "sampler_name": "euler"}
    run = {"KSampler": lambda: host.nodes.KSampler().sample(**common, **plan, latent_image=latent)}
    for preset in ("turbo", "plus"):
        run[preset] = lambda preset=preset: sample(host, model, words, latent, preset=preset, **plan)
    found = in_turns(run, rounds)
    plain = found["KSampler"]["peak MiB"]
    for preset in ("turbo", "plus"):
        more = (found[preset]["peak MiB"] - plain) * 2**20
        found[preset] = {"more MiB": round(more / 2**20), "memory ratio with Wan 2.1 1.3B, counted": 1 + more / WAN_BYTES}
    return found


def in_turns(runs: dict, rounds: int) -> dict:
    """Seconds and peak of runs that take turns, the least of `rounds` rounds, and their ratios to the first run's."""
    measures = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            measures[name].append(measured(run))
            print(name, measures[name][-1], flush=True)
    least = {name: [min(values) for values in zip(*found, strict=True)] for name, found in measures.items()}
    seconds, peak = next(iter(least.values()))
    return {
        name: {
            "seconds of the processor": round(s, 1),
            "peak MiB": round(p / 2**20),
            "time ratio": round(s / seconds, 3),
            "memory ratio": round(p / peak, 3),
        }
        for name, (s, p) in least.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("sdxl", "wan"))
    parser.add_argument("--depth", type=int, default=10, help="of SDXL's deep transformers (default: 10, its own)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of SDXL's weights (default: bfloat16)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind, in turns (default: 2)")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    options = parser.parse_args()
    path = options.output.resolve() / "results" / "gradpaint_cost_host.json"
    from host import Host

    if options.kind == "sdxl":
        name, found = f"sdxl {options.dtype}", sdxl(Host(), options.depth, getattr(torch, options.dtype), options.rounds)
    else:
        name, found = "wan", wan(Host(), options.rounds)
    rows = json.loads(path.read_text()) if path.exists() else {}
    rows[name] = found | {"torch": torch.__version__, "threads": torch.get_num_threads()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
