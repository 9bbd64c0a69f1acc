"""Many prompts in one ComfyUI, as an artist's day makes them: none may fail, and memory must not grow.

Run with the host's own Python: COMFYUI_PATH=~/comfy/ComfyUI ~/comfy/ComfyUI/.venv/bin/python tools/soak.py [--prompts N] [--seconds S]
"""

import argparse
import ctypes
import gc
import logging
import random
import resource
import sys
import time
import warnings
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "host" / "inside"))
SETTLED, WINDOW, GROWTH = 150, 50, 1.05  # prompts until caches have filled; prompts whose median is compared; allowed

SIZES = [(64, 64), (96, 64), (50, 70)]


def prompt(rng: random.Random) -> dict:
    """A picture, a mask, one way to fill it, and the comparison, with random settings."""
    width, height = rng.choice(SIZES)
    seed = rng.randrange(2**64)
    shape = {"width": width, "height": height, "seed": seed % 2**20}
    graph = {
        "picture": ("RAI_DrawLandscape", {"size": 64, "batch_size": rng.choice([1, 1, 2]), "seed": seed % 2**20, "time_of_day": "any"}),
        "mask": rng.choice(
            [
                ("RAI_InpaintMaskShapes", shape | {"shape": rng.choice(["box", "scratches"]), "share": rng.choice([1.0, 20.0, 60.0])}),
                ("RAI_PerlinMask", shape | {"scale": 20.0, "area": rng.choice([0.0, 10.0, 40.0]), "softness": rng.choice([0.0, 0.3])}),
            ]
        ),
        "adm": ("RAI_LoadADMModel", {"model_name": "landscapes (bundled)", "precision": rng.choice(["float32", "bfloat16"])}),
        "rad": ("RAI_LoadRADAdapter", {"model": ("adm", 0), "adapter_name": "landscapes (bundled)", "strength": rng.choice([0.5, 1.0])}),
        "sdm": ("RAI_LoadSDMModel", {"sdm_name": "landscapes (bundled)"}),
        "words": ("RAI_ADMConditioning", {"class_label": 0}),
    }
    shared = {"image": ("picture", 0), "mask": ("mask", 0), "seed": seed}
    words = {"positive": ("words", 0), "negative": ("words", 0)}
    graph["fill"] = rng.choice(
        [
            ("RAI_RADInpaint", shared | {"model": ("rad", 0), "steps": 2, "sampler": rng.choice(["ddim", "ddpm", "dpmpp_2m"])}),
            ("RAI_GradPaintInpaint", shared | words | {"model": ("adm", 0), "vae": ("adm", 1), "steps": 2, "cfg": 1.0}),
            ("RAI_SDMInpaint", shared | {"sdm": ("sdm", 0), "iterations": 2}),
            ("RAI_FillFromPicture", shared | {"preset": "fast"}),
        ]
    )
    graph["compare"] = ("RAI_InpaintCompare", {"original": ("picture", 0), "mask": ("mask", 0), "result_1": ("fill", 0)})
    return graph


def as_api(graph: dict, host) -> dict:
    """The graph as the host takes it, with the defaults of what is not set."""
    from helpers import defaults

    ids = {name: str(k) for k, name in enumerate(graph, 1)}
    link = lambda value: [ids[value[0]], value[1]] if isinstance(value, tuple) else value
    return {
        ids[name]: {"class_type": kind, "inputs": defaults(host, kind) | {key: link(value) for key, value in values.items()}}
        for name, (kind, values) in graph.items()
    }


def memory() -> float:
    """Resident megabytes without garbage or what the C library keeps free; the peak where the system does not say."""
    gc.collect()
    status = Path("/proc/self/statm")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc
    if trim:
        trim(0)
    return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000, help="default: 1000")
    parser.add_argument("--seconds", type=float, default=3600, help="at most (default: 3600)")
    parser.add_argument("--seed", type=int, default=0, help="of the first prompt (default: 0)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    from host import Host

    host, end, failed, sizes = Host(), time.monotonic() + options.seconds, 0, []
    for k in range(options.prompts):
        if time.monotonic() > end:
            break
        ok, messages = host.run(as_api(prompt(random.Random(options.seed + k)), host))
        if not ok:
            failed += 1
            print(f"prompt {options.seed + k} failed: {str(messages[-1])[:1000]}", flush=True)
        sizes.append(memory())
        if len(sizes) % 50 == 0:
            print(f"{len(sizes)} prompts, {sizes[-1]:.0f} MB", flush=True)
    growth, grew = 1.0, "too few to judge memory"
    if len(sizes) >= SETTLED + WINDOW:
        settled, last = (median(window) for window in (sizes[SETTLED - WINDOW : SETTLED], sizes[-WINDOW:]))
        growth = last / settled
        change = f"{100 * (growth - 1):+.1f} %"
        grew = f"memory {settled:.0f} MB after {SETTLED}, {last:.0f} MB at the end ({change}), at most {max(sizes):.0f} MB"
    print(f"{len(sizes)} prompts, {failed} failed; {grew}.")
    return bool(failed or growth > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
