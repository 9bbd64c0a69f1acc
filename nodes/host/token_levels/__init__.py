"""A noise level per token for the host's flow transformers, through the model patcher alone (RAD 3.3, 3.4).

One file per way in; `families.py` says which network takes which. Outside the network sigma stays a scalar, so every sampler of the
host works; inside, known latents stay clean and each token is modulated by its own timestep. As in `rad_core.unet` the few distinct
levels of a mask go through the layers once each and are picked per token. The text gets the highest level; the tokens of reference
pictures get the timestep that the model's own method gives them.
"""

from .families import (
    FAMILIES,
    WORKS_ON,
    family_name,
    has_token_levels,
    learnt_levels,
    native_levels,
    token_patch,
    with_token_levels,
)
from .levels import snap
from .per_token import predicts_ratio, predicts_velocity

__all__ = [
    "FAMILIES",
    "WORKS_ON",
    "family_name",
    "has_token_levels",
    "learnt_levels",
    "native_levels",
    "predicts_ratio",
    "predicts_velocity",
    "snap",
    "token_patch",
    "with_token_levels",
]
