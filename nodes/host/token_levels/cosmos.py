"""Cosmos-Predict2 and Anima: a timestep per frame. Each token is made a frame of its own on the way through the blocks."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from .family import NET, Family, Patch
from .levels import ModulationLayers, StandIn, TokenLevels


class Fold:
    """The host's `prepare_embedded_sequence` and `unpatchify`: (B, T, H, W, D) -> (B, T H W, 1, 1, D), and back."""

    def __init__(self, levels: TokenLevels):
        self.levels, self.grid = levels, None

    def fold(self, plain, *args, **kwargs):
        x, rope, extra = plain(*args, **kwargs)
        if not self.levels.active:
            return x, rope, extra
        self.grid = x.shape[1:4]
        flat = lambda values: None if values is None else values.flatten(1, 3)[:, :, None, None]
        return flat(x), rope, flat(extra)

    def unfold(self, plain, x: Tensor) -> Tensor:
        return plain(x.flatten(1, 3).unflatten(1, self.grid) if self.levels.active else x)


class TimeEmbedding(StandIn):
    """(B, K, D) of the levels: the blocks' layers read them as they are, their common part is picked per token."""

    def mapped(self, waves: Tensor) -> tuple[Tensor, Tensor | None]:
        embedding, common = self.layer(waves)
        return embedding, None if common is None else self.levels.pick(common, "img")


class TokenLayers(ModulationLayers):
    """A block's layers, which read the levels' embeddings (B, K, D)."""

    def forward(self, vec: Tensor) -> Tensor:
        if not self.levels.active:
            return super().forward(vec)
        for layer in self:
            vec = layer(vec)
        return self.levels.pick(vec, self.stream)


def _rope_with_gradients(plain, *args, rope_emb: Tensor | None = None, **kwargs) -> tuple[Tensor, Tensor, Tensor]:
    """An attention's q, k and v: newer hosts turn q and k in a fused kernel, which has no gradient."""
    q, k, v = plain(*args, rope_emb=None, **kwargs)
    return _rotate(q, rope_emb), _rotate(k, rope_emb), v


def _rotate(x: Tensor, rotations: Tensor | None) -> Tensor:
    """Rotary embedding (Su et al. 2021) of the pairs (x_i, x_(i + d/2)): x (..., d), rotations (..., d/2, 2, 2)."""
    if rotations is None:
        return x
    pairs = x.float().unflatten(-1, (2, -1)).movedim(-2, -1)  # (..., d/2, 2)
    turned = (rotations * pairs.unsqueeze(-2)).sum(-1)
    return turned.movedim(-1, -2).flatten(-2).type_as(x)


class Cosmos(Family):
    targets = (
        r"blocks\.\d+\.((self_attn|cross_attn)\.(q_proj|k_proj|v_proj|output_proj)|mlp\.layer[12]|adaln_modulation_\w+\.\d)"
        r"|final_layer\.adaln_modulation\.\d|t_embedder\.1\.linear_\d"
    )
    blocks = ("blocks",)

    def token_size(self) -> tuple[int, int, int]:
        return self.net.patch_temporal, self.net.patch_spatial, self.net.patch_spatial

    def patches(self) -> Iterator[Patch]:
        fold, layers = Fold(self.levels), partial(TokenLayers, levels=self.levels, stream="img")
        yield "process_timestep", lambda plain: partial(self._timesteps, plain)
        yield f"{NET}prepare_embedded_sequence", lambda plain: partial(fold.fold, plain)
        yield f"{NET}unpatchify", lambda plain: partial(fold.unfold, plain)
        yield f"{NET}t_embedder.1", partial(TimeEmbedding, levels=self.levels)
        for k in range(len(self.net.blocks)):
            for part in ("self_attn", "cross_attn", "mlp"):
                yield f"{NET}blocks.{k}.adaln_modulation_{part}", layers
        yield f"{NET}final_layer.adaln_modulation", layers

    def prepare_training(self) -> None:
        for block in self.net.blocks:
            block.self_attn.compute_qkv = partial(_rope_with_gradients, block.self_attn.compute_qkv)

    def network_timesteps(self, timestep: Tensor) -> Tensor:
        return self.levels.timesteps

    def _timesteps(self, plain, timestep: Tensor, x: Tensor, **kwargs) -> Tensor:
        return self.network_timesteps(timestep) if self.levels.active else plain(timestep, x=x, **kwargs)
