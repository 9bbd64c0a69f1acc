"""What SDM's variance is trained for (SDM 3.3, Eq. 1-3)."""

from torch import Tensor

from ..training.objective import discretised_gaussian_log_likelihood, mean_over


def uncertainty_loss(picture: Tensor, mean: Tensor, log_variance: Tensor, hole: Tensor) -> Tensor:
    """Negative log-likelihood of the true 8-bit values, in nats, averaged over the hole. It teaches the variance alone.

    Args:
        picture: (B, 3, H, W) in [-1, 1]. mean, log_variance: as predicted. hole: (B, 1, H, W) of 0 and 1.
    """
    return mean_over(-discretised_gaussian_log_likelihood(picture, mean.detach(), 0.5 * log_variance), hole > 0)
