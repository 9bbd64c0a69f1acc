"""How two sets of pictures differ by their features (N, D), and confidence intervals."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..noise import generators


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The distance between Gaussians fitted to two sets of features (N, D) (Heusel et al. 2017).

    |m - m'|^2 + tr(C + C' - 2 (C C')^1/2).
    """
    a, b = a.double(), b.double()
    shift, (a, b) = (a.mean(0) - b.mean(0)).square().sum(), ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b))  # C = a^T a
    if max(len(a), len(b)) < a.shape[1]:
        cross = torch.linalg.svdvals(a @ b.T).sum()  # C C' has the eigenvalues of (a b^T)(a b^T)^T
    else:
        values, vectors = torch.linalg.eigh(a.T @ a)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # C C' has those of the symmetric C^1/2 C' C^1/2 too
        cross = torch.linalg.eigvalsh(root @ (b.T @ b) @ root).clamp(min=0).sqrt().sum()
    return float(shift + a.square().sum() + b.square().sum() - 2 * cross)


def kernel_distance(a: Tensor, b: Tensor, paired: bool = False) -> float:
    """KID (Binkowski et al. 2018): the unbiased squared MMD with kernel (a.b / D + 1)^3.

    About 0 for two sets from one distribution, and sometimes negative.

    Args:
        paired: entry k of both sets is of the same picture, so that the two are no independent draws: their product is left out
            (Gretton et al. 2012, Eq. 4).
    """
    a, b = a.double(), b.double()
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    others = lambda values: (values.sum() - values.diagonal().sum()) / (len(values) * (len(values) - 1))
    between = others(kernel(a, b)) if paired else kernel(a, b).mean()
    return float(others(kernel(a, a)) + others(kernel(b, b)) - 2 * between)


def inception_scores(out: Tensor, truth: Tensor) -> tuple[float, float]:
    """U-IDS and P-IDS (Zhao et al. 2021, Eq. 8 and 9): how often a linear SVM mistakes fills for real pictures; .5 is the best.

    Args:
        out, truth: (N, D), where fill k is of picture k. With N below D an SVM always separates them, and both scores are 0.

    Returns:
        U-IDS: the share of fills and pictures that are misclassified. P-IDS: how often a fill scores as more real than its own picture.
    """
    from sklearn.svm import LinearSVC  # in the `evaluation` extra

    features = torch.cat([truth, out]).double()
    features = (features - features.mean(0)) / features.std(0).clamp(min=1e-12)
    kind = torch.cat([torch.ones(len(truth)), torch.zeros(len(out))])
    machine = LinearSVC(dual=False).fit(features.cpu().numpy(), kind.numpy())
    real, made = torch.from_numpy(machine.decision_function(features.cpu().numpy())).split([len(truth), len(out)])
    return float((real < 0).double().mean() + (made > 0).double().mean()) / 2, float((made > real).double().mean())


def bootstrap(statistic: Callable[[Tensor], float], count: int, draws: int = 1000) -> tuple[float, float]:
    """95 % confidence interval of a statistic of `count` pictures, by resampling them with replacement (Efron 1979, percentiles).

    Args:
        statistic: of the indices of the pictures in the sample, (count,), some of them repeated.
        count: number of pictures. draws: number of resamples.

    Returns:
        (low, high), shifted by the resamples' bias: a Fréchet distance grows when a sample has fewer distinct pictures.
    """
    (stream,) = generators(0, 1, "bootstrap")
    values = torch.tensor([statistic(torch.randint(count, (count,), generator=stream)) for _ in range(draws)], dtype=torch.float64)
    values = values - values.mean() + statistic(torch.arange(count))
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
