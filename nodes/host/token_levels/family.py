"""What a family of transformers must say about itself: where its timestep enters, and how its tokens are ordered."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from .levels import TokenLevels

NET = "diffusion_model."
Patch = tuple[str, Callable]  # an object of the MODEL by name, and what makes its stand-in of it


class Family:
    """One way in. Subclasses say what is their own.

    Args:
        net: the host's network.
        levels: what its stand-ins read.

    Attributes:
        patch: frames, rows and columns of latents in a token.
    """

    def __init__(self, net: nn.Module, levels: TokenLevels):
        self.net, self.levels = net, levels
        self.patch = self.token_size()

    def token_size(self) -> tuple[int, int, int]:
        size = self.net.patch_size
        return (1, size, size) if isinstance(size, int) else (1,) * (3 - len(size)) + tuple(size)

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
