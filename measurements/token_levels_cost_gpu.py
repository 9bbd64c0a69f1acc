"""What a noise level per token costs on a GPU: whole networks of true size at 4,096 tokens, with a level map and without, in turns.

Run with the host's interpreter: RAD_GPU=1 python -m measurements.token_levels_cost_gpu -o docs, which writes
results/token_levels_cost_gpu.json there. Random bfloat16 weights, drawn on the GPU; Qwen-Image takes 39 GiB of it.
"""

import argparse
import gc
import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from measurements.token_levels_cost import FLUX2, QWEN, ZIMAGE, calls, row_of  # puts the host's tests on the path
from rad_core.bench.timing.speed import alternate, wait_for
from rad_core.metrics import save_table

# isort: split
import families
from family_table import FAMILIES
from helpers import devices
from host import Host

MASK = {"attention_mask": torch.ones(1, 96, dtype=torch.long)}
KLEIN = FLUX2 | {"depth": 5, "depth_single_blocks": 20, "context_in_dim": 7680}
Z = ZIMAGE | {"ffn_dim_multiplier": 8 / 3, "multiple_of": 256, "n_layers": 30, "n_refiner_layers": 2, "cap_feat_dim": 2560}
KINDS = {  # name in `FAMILIES`, sizes of its network, shape of latents with 4,096 tokens, of the text, other conditioning
    "Flux.2 klein 4B": ("Flux.2, klein", KLEIN, (128, 64, 64), (512, 7680), {}),
    "Z-Image": ("Z-Image", Z | {"axes_lens": [1536, 512, 512]}, (16, 128, 128), (96, 2560), {}),
    "Qwen-Image": ("Qwen-Image, -Edit", QWEN | {"num_layers": 60, "joint_attention_dim": 3584}, (16, 1, 128, 128), (96, 3584), MASK),
}


@torch.no_grad()
def draw_weights(net: torch.nn.Module, seed: int) -> None:
    """Weights of sensible size, drawn where they lie: `families` draws them on the CPU."""
    for p in net.parameters():
        p.normal_(0, 1 / math.sqrt(p[0].numel()) if p.ndim > 1 else 0.1)


def measure(host, name: str, sizes: dict, shape: tuple[int, ...], text: tuple[int, ...], extra: dict, rounds: int) -> dict[str, float]:
    """`row_of` by the clock, and the median seconds of a call without a map."""
    tiny = FAMILIES[name]
    FAMILIES[name] = replace(tiny, config=tiny.config | sizes, shape=shape, text=text, extra=tiny.extra | extra)
    base = families.build(name, torch.bfloat16)
    base.offload_device = base.load_device  # drawn there, and too large to be moved for nothing
    seconds = alternate(calls(host, base, name, shape), rounds, wait_for(base.load_device))
    return row_of(base, seconds) | {"without, s": median(seconds["without"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("--rounds", type=int, default=10, help="timed calls of each kind (default: 10)")
    parser.add_argument("--only", choices=KINDS, action="append", help="measure this one; the others' figures are kept (default: all)")
    options = parser.parse_args()
    path = options.output.resolve() / "results" / "token_levels_cost_gpu.json"
    host, rows = Host(), json.loads(path.read_text()) if path.exists() else {}
    families._draw_weights = draw_weights
    families._get_model = lambda config, state: config.get_model(state, "", device=devices()[0])
    for label in options.only or KINDS:
        rows[label] = measure(host, *KINDS[label], options.rounds)
        print(label, rows[label], flush=True)
        gc.collect()
        torch.cuda.empty_cache()
        rows["machine"] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
        save_table(rows, path)


if __name__ == "__main__":
    main()
