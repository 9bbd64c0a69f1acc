"""What a noise level per token costs: one block of true width at 4,096 tokens, with a level map and without, in turns.

Run with the host's interpreter: python -m measurements.token_levels_cost -o docs, which writes results/token_levels_cost.json there.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils._pytree import tree_map

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "host" / "inside"))
import families
from family_table import FAMILIES
from helpers import apply
from host import Host

from rad_core.bench.timing.speed import alternate, median_ratio
from rad_core.metrics import save_table

FLUX2 = {"hidden_size": 3072, "num_heads": 24, "axes_dim": [32] * 4, "depth": 1, "depth_single_blocks": 1}
ZIMAGE = {"dim": 3840, "n_heads": 30, "n_kv_heads": 30, "axes_dims": [32, 48, 48], "n_layers": 1, "n_refiner_layers": 1}
QWEN = {"num_attention_heads": 24, "attention_head_dim": 128, "axes_dims_rope": (16, 56, 56), "num_layers": 1}
KINDS = {  # name in `FAMILIES`, sizes of its network, shape of latents with 4,096 tokens
    "Flux.2 klein 4B": ("Flux.2, klein", FLUX2, (128, 64, 64)),
    "Z-Image": ("Z-Image", ZIMAGE | {"ffn_dim_multiplier": 8 / 3, "multiple_of": 256}, (16, 128, 128)),
    "Qwen-Image": ("Qwen-Image, -Edit", QWEN, (16, 1, 128, 128)),
}
SIGMA = 0.7


def maps(side: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Level maps (1, 1, [1,] h, w): a hole with the rest clean, and a soft one, where every column of tokens has a level of its own."""
    hard, soft = torch.zeros(1, 1, *side), torch.linspace(0, SIGMA, side[-1] // 2).repeat_interleave(2).expand(1, 1, *side).clone()
    hard[..., side[-1] // 4 : side[-1] // 2] = SIGMA
    return {"a hole": hard, "a soft mask": soft}


def calls(host, base, name: str, shape: tuple[int, ...]) -> dict[str, Callable]:
    """A call of a MODEL without a map, and with each kind of map."""
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=base)
    move = lambda values: tree_map(lambda value: value.to(base.load_device) if torch.is_tensor(value) else value, values)
    x, (words, extra) = move((torch.randn(1, *shape, generator=torch.Generator().manual_seed(5)), families.prompts(name)[0][0]))
    about = {"cross_attn": words, "noise": x, "device": x.device, "prompt_type": "positive"}
    conds = {key: cond.process_cond(batch_size=1, area=None).cond for key, cond in base.model.extra_conds(**extra, **about).items()}
    conds.setdefault("c_crossattn", words)
    mapped = {key: lambda s=s: apply(patched, x, SIGMA, conds | {"sigma_map": s}) for key, s in maps(shape[1:]).items()}
    return {"without": lambda: apply(base, x, SIGMA, conds)} | mapped


def row_of(base, seconds: dict[str, list[float]]) -> dict[str, float]:
    """The network's size, and the time with each kind of map as a multiple of that without."""
    ratios = {key: median_ratio(seconds, key, "without") for key in seconds if key != "without"}
    return {"parameters": sum(p.numel() for p in base.model.diffusion_model.parameters())} | ratios


def measure(host, name: str, sizes: dict, shape: tuple[int, ...], rounds: int) -> dict[str, float]:
    """`row_of` by the processor's time."""
    FAMILIES[name] = replace(FAMILIES[name], config=FAMILIES[name].config | sizes, shape=shape)
    base = families.build(name)
    return row_of(base, alternate(calls(host, base, name, shape), rounds, clock=time.process_time))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("--rounds", type=int, default=3, help="timed calls of each kind (default: 3)")
    parser.add_argument("--only", choices=KINDS, action="append", help="measure this one; the others' figures are kept (default: all)")
    options = parser.parse_args()
    path = options.output.resolve() / "results" / "token_levels_cost.json"
    host, rows = Host(), json.loads(path.read_text()) if path.exists() else {}
    for label in options.only or KINDS:
        name, sizes, shape = KINDS[label]
        rows[label] = measure(host, name, sizes, shape, options.rounds)
        print(label, rows[label], flush=True)
        rows["machine"] = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        save_table(rows, path)


if __name__ == "__main__":
    main()
