"""Temperature scaling: probabilities made as sure as they are right. Imports nothing but NumPy."""

import numpy as np

_SMALLEST = np.finfo(np.float32).tiny  # a probability of exactly 0 has no logarithm
_RANGE = 0.05, 20.0  # of the temperature


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N, K) as they are when the logits are divided by `temperature`.

    The order of a row's classes stays. Source: Guo et al. 2017, arXiv:1706.04599.
    """
    floor = np.maximum(probabilities.astype(np.float64), _SMALLEST)
    logits = np.log(floor) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(labels: np.ndarray, probs: np.ndarray) -> float:
    """Return the temperature with the smallest log loss: above 1 where the model is too sure.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, K), each row sums to 1.
    Raises:
        ValueError, InputError: as `src.evaluation.metrics.score`.
    """
    from scipy.optimize import minimize_scalar  # here: who only predicts need not have it

    from src.evaluation.metrics import check_predictions

    labels, probs = check_predictions(labels, probs)

    def loss(log_temperature: float) -> float:
        right = tempered(probs, np.exp(log_temperature))[np.arange(len(labels)), labels]
        return -np.log(np.maximum(right, _SMALLEST)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded").x))
