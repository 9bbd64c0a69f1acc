"""What a family of transformers must say about itself: where its timestep enters, and how its tokens are ordered."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from .levels import TokenLevels, distinct, grid

NET = "diffusion_model."
Patch = tuple[str, Callable]  # an object of the MODEL by name, and what makes its stand-in of it


class Family:
    """One way in. Subclasses say what is their own.

    Args:
        net: the host's network.
        levels: what its stand-ins read.

    Attributes:
        patch: frames, rows and columns of latents in a token.
        targets: the layers that an adapter is trained on, a pattern of their names: attention, feed-forward and modulation.
        blocks: the lists of blocks that gradient checkpointing goes by.
    """

    targets = ""
    blocks: tuple[str, ...] = ()

    def __init__(self, net: nn.Module, levels: TokenLevels):
        self.net, self.levels = net, levels
        self.patch = self.token_size()

    def token_size(self) -> tuple[int, int, int]:
        size = self.net.patch_size
        return (1, size, size) if isinstance(size, int) else (1,) * (3 - len(size)) + tuple(size)

    def set_levels(
        self, sigma_i: Tensor, sigma: Tensor, timestep: Callable[[Tensor], Tensor], dtype: torch.dtype, context: Tensor | None, conds: dict
    ) -> None:
        """Embed a map's distinct levels, and say which each token has.

        Args:
            sigma_i: (B, 1, [T,] h, w), the map. sigma: (B,), the scalar level that is passed to the network.
            timestep: the network's timestep of a level. dtype: of the network's arithmetic.
            context: (B, M, E), the text. conds: the network's other inputs; changed where references are clean.
        """
        tokens = grid(sigma_i, self.patch).flatten(1)
        sigmas = distinct(tokens)
        image = (tokens[..., None] - sigmas).abs().argmin(-1)
        highest = image.amax(1, keepdim=True)
        references = sum(grid(latents[:1, :1], self.patch).numel() for latents in self.references(conds))
        if references and self.clean_references(conds):
            sigmas = torch.cat([sigmas, sigmas.new_zeros(1)])
            image = torch.cat([image, torch.full_like(highest, len(sigmas) - 1).expand(-1, references)], 1)
        elif references:
            image = torch.cat([image, highest.expand(-1, references)], 1)
        steps = timestep(sigmas)
        own, scalar = (self.embed(some, dtype) for some in (steps, timestep(sigma)))
        self.levels.index = self.streams(image, highest.expand(-1, self.text_length(context, conds)))
        self.levels.timesteps = steps.expand(len(image), -1)
        self.levels.vectors = None if own is None else own[None] - scalar[:, None]

    def network_timesteps(self, timestep: Tensor) -> Tensor:
        """The timestep (B,) that is passed to the network while there is a map."""
        return timestep

    def prepare_training(self) -> None:
        """Replace what has no gradient, in a copy of the host's network that is to be trained."""

    def patches(self) -> Iterator[Patch]:
        """Objects of the MODEL and their stand-ins."""
        raise NotImplementedError

    def embed(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Timesteps (n,) -> (n, E), as the network adds them to its modulation vector. None: it embeds them by itself."""
        return None

    def refusal(self, conds: dict) -> str | None:
        """What of this prompt's conditioning has no noise level per token, or None."""
        return None

    def text_length(self, context: Tensor | None, conds: dict) -> int:
        """Text tokens in a joint sequence."""
        return 0 if context is None else context.shape[1]

    def references(self, conds: dict) -> list[Tensor]:
        """Latents whose tokens follow the picture's."""
        return list(conds.get("ref_latents") or ())

    def clean_references(self, conds: dict) -> bool:
        """Whether the model's own method gives reference tokens the timestep 0. Then `conds` is changed so that the stand-ins do it."""
        name = "ref_latents_method"
        if conds.get(name, self.reference_method()) != "index_timestep_zero":
            return False
        conds[name] = "index"  # the same positions, with one timestep for all
        return True

    def reference_method(self) -> str | None:
        """The network's own method for references."""
        return getattr(self.net, "default_ref_method", None)

    def streams(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        """The levels of each stream's tokens, from those of the picture's (and its references') (B, L) and of the text (B, M)."""
        return {"img": image, "txt": text[:, :1], "joint": torch.cat([text, image], 1)}
