"""A picture's own patches as a denoiser: RAD's contract, `denoise(x, sigma) -> x0` with a noise level for every pixel.

The softmax over the patches has one term that counts: d is a mean over N = 3 p^2 colours (and the texture), and where all of them are
clean the exponent is -N d / 2 tau^2; noisy ones lower N. So the fast path finds the patch of least d for each query and lets all patches
over a pixel vote; the exact path takes the whole softmax.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..denoisers import Denoiser
from ..images import check_image_and_mask
from ..noise import generators
from ..settings import resolve_settings
from .level import COLOUR, Level
from .posterior import patch_posterior
from .progress import Poll, no_poll
from .scene import Scene, pages_at, references_of
from .search import Keys, Queries, common_offsets, distances, search_all, search_near
from .settings import PRESETS, ExemplarSettings
from .votes import vote, votes_of

BLOCK = 16384  # queries at a time
KEYS = 100_000  # patches to compare with in one search, at most: those of a large reference for a tiny hole would take gigabytes


def match(
    level: Level,
    state: Tensor,
    sigma: Tensor,
    step: int,
    rng: torch.Generator,
    everywhere: bool,
    poll: Poll = no_poll,
    keys: Keys | None = None,
) -> None:
    """Find the source of each query, seen through noise: sets level.match and level.distance.

    c_qj ~ tau^2 / (sigma_qj^2 + tau^2) * a_j: noisy pixels and those deep in the hole count less.

    Args:
        state: (N, 5), noisy. sigma: (P,) noise levels of level.pixels.
        step: number of the step. rng: a CPU generator.
        everywhere: compare with all patches (with as many as `limit` allows, chosen at random, where there are more).
        poll: called between blocks; raise from it to cancel.
        keys: what to compare with everywhere, where that is made already.
    """
    settings, device = level.settings, level.state.device
    weight = torch.ones(level.height * level.width, device=device)
    weight[level.pixels] = settings.tau**2 / (sigma.square() + settings.tau**2)
    weight.mul_(level.confidence)[level.excluded] = 0
    if everywhere and keys is None:
        index, most = level.keys, int(min(KEYS, max(64, settings.limit / max(1, len(level.queries)))))
        if len(index) > most:
            index = index[torch.randint(len(index), (most,), generator=rng).to(device)]
        keys = Keys.of(level, index)
    common = level.match.new_empty(0) if everywhere or not settings.common else common_offsets(level)
    for start in range(0, len(level.queries), BLOCK):
        part = slice(start, start + BLOCK)
        queries = Queries.of(level, level.queries[part], state, weight)
        if everywhere:
            level.match[part], level.distance[part] = search_all(level, queries, keys)
            for line, on_line in enumerate(level.guide.keys if level.guide else ()):
                mine = (level.guide.own[part] == line).nonzero()[:, 0]
                level.match[start + mine], level.distance[start + mine] = search_all(
                    level, queries.take(mine), Keys.of(level, on_line), line
                )
        else:
            before = level.match[part]
            now = distances(level, queries, before)
            level.match[part], level.distance[part] = search_near(level, queries, before, now, step, rng, common)
        poll()


def all_comparable(level: Level, limit: float) -> bool:
    """Whether one search compares each query with all patches."""
    return len(level.queries) * len(level.keys) < limit and len(level.keys) <= KEYS


class ExemplarDenoiser(Denoiser):
    """The patches of a picture, and of references, as a denoiser for states in [-1, 1].

    Args:
        image: (1, 3, H, W) in [0, 1]; pixels inside the hole are ignored.
        mask: (1, 1, H, W), (1, H, W) or (H, W), 0 where pixels may serve as patches.
        references, reference_masks: see `exemplar_inpaint`.
        exact: the whole softmax over all patches instead of its largest term, without texture, distance and falloff: for small sets.
        seed: of the fast path's search.

    The fast path remembers its matches from call to call while the noisy pixels stay the same: each call improves them.

    Raises:
        ValueError: as `exemplar_inpaint`, more than one picture, or no patch is wholly known.
    """

    def __init__(
        self,
        image: Tensor,
        mask: Tensor,
        references: Tensor | Sequence[Tensor] | None = None,
        reference_masks: Tensor | Sequence[Tensor] | None = None,
        settings: str | ExemplarSettings = "default",
        exact: bool = False,
        seed: int = 0,
    ):
        self.settings, self.exact = resolve_settings(settings, PRESETS, {}), exact
        image, mask = check_image_and_mask(image, mask)
        if len(image) != 1:
            raise ValueError(f"An ExemplarDenoiser has the patches of one picture, got {len(image)}.")
        scene = Scene.of(image[0], mask[0, 0] > 0, references_of(references, reference_masks, image))
        hole = scene.hole
        self.level = Level(pages_at(scene, scene.size, scene.textures(1)), hole, torch.zeros_like(hole), self.settings.patch, self.settings)
        if not len(self.level.keys) or min(hole.shape) < self.settings.patch:
            raise ValueError(f"No patch of {self.settings.patch} pixels is wholly known.")
        self.rng, self.step = generators(seed, 1, "exemplar")[0], 0

    @torch.no_grad()
    def estimate(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance.

        Args:
            x: (1, 3, H, W), the picture in [-1, 1] plus sigma * noise. sigma: scalar or (1, 1, H, W), any map; 0 = clean.

        Returns:
            mean and variance, (1, 3, H, W) each; x and 0 where sigma is 0.
        """
        level, (height, width) = self.level, x.shape[2:]
        if x.shape != (1, 3, level.height, level.picture_width):
            raise ValueError(f"The state must be {(1, 3, level.height, level.picture_width)} as the picture, got {tuple(x.shape)}.")
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(1, 1, height, width)[0, 0]
        flat = level.flat(sigma)
        if not torch.equal(flat > 0, level.hole):
            level.set_hole(flat > 0)
        if not len(level.pixels):
            return x.clone(), torch.zeros_like(x)
        state = level.state.clone()
        state[: len(flat), :3] = torch.nn.functional.pad(x[0].float() * COLOUR, (0, level.width - width)).permute(1, 2, 0).reshape(-1, 3)
        means, variances = (self._exact if self.exact else self._fast)(state, flat)
        out = [x[0].permute(1, 2, 0).to(means.dtype).clone(), torch.zeros(height, width, 3, dtype=means.dtype, device=x.device)]
        for map_, values in zip(out, (means, variances), strict=True):
            map_[level.pixels // level.width, level.pixels % level.width] = values
        return tuple(map_.permute(2, 0, 1)[None].to(x.dtype) for map_ in out)

    def predict(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, None]:
        """The posterior mean, see `estimate`; there are no variance values of a network."""
        return self.estimate(x, sigma)[0], None

    def _fast(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        level = self.level
        small = all_comparable(level, self.settings.limit)
        first = bool((level.match < 0).any())
        match(level, state, sigma[level.pixels], self.step, self.rng, first or (small and self.step % 3 == 0))
        self.step += 1
        voted, variance = vote(level)
        level.state[level.pixels, 3:] = voted[:, 3:]
        square = sigma[level.pixels, None].square()
        s = square / (square + self.settings.tau**2)  # see `posterior`
        return torch.lerp(state[level.pixels, :3], voted[:, :3], s) / COLOUR, s * self.settings.tau**2 + s.square() * variance

    def _exact(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        level, n = self.level, self.level.patch**2
        colours = lambda index, of: level.patches(index, of).view(len(index), n, 5)[..., :3] / COLOUR
        prior, moments = colours(level.keys, None), []
        pairs = max(1, 4_000_000 // len(level.keys))
        for start in range(0, len(level.queries), pairs):
            part = slice(start, start + pairs)
            queries = level.queries[part]
            noise = sigma[queries[:, None] + level.offsets]
            mean, variance, level.distance[part] = patch_posterior(colours(queries, state), noise, prior, self.settings.tau)
            moments.append(torch.stack([mean, variance + mean.square()], 2))
        level.match[:] = level.keys[0]  # votes need the distances alone
        moments = torch.cat(moments).flatten(0, 1)  # (Q * n, 2, 3)
        v, _ = votes_of(level, level.pixels)
        slot = level.slot[(level.pixels + level.slot_offset)[:, None] - level.offsets].clamp(min=0).long()
        mixed = (moments[slot * n + torch.arange(n, device=slot.device)] * v[..., None, None]).sum(1)
        return mixed[:, 0], (mixed[:, 1] - mixed[:, 0].square()).clamp(min=0)
