"""The loss and the update rules, in PyTorch, by Keras's definitions.

Rows named in `restore_defaults` go back to PyTorch's own; see `src.differences`.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from src.config import ExperimentConfig


def make_loss(config: ExperimentConfig) -> Callable[..., torch.Tensor]:
    """Return cross-entropy on logits: the sum of weighted losses over the number of images.

    `F.cross_entropy(weight=...)` would divide by the sum of the weights instead.
    Twin: `src.tf.optim.make_loss`.
    """

    def loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        each = F.cross_entropy(
            logits, labels, reduction="none", label_smoothing=config.label_smoothing
        )
        weights = weights.to(each)
        if "class_weights" in config.restore_defaults:
            return (each * weights).sum() / weights.sum()
        return (each * weights).mean()

    return loss


def make_optimizer(
    config: ExperimentConfig, model: nn.Module, rate: float
) -> torch.optim.Optimizer:
    """Return the config's optimizer for the trainable weights of `model`.

    Twin: `src.tf.optim.make_optimizer`.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = (_sgd if config.optimizer == "sgd" else _adam)(config, trainable, rate)
    # Keras's optimizers clip and decay by themselves; so do these, just before each step.
    if config.clip_norm:
        optimizer.register_step_pre_hook(lambda *_: _clip(trainable, config))
    if config.weight_decay and "weight_decay" not in config.restore_defaults:
        optimizer.register_step_pre_hook(lambda *_: _decay(optimizer, config))
    if config.optimizer != "sgd" and "adam_epsilon" not in config.restore_defaults:
        _follow_keras(optimizer, config)
    return optimizer


def _sgd(config: ExperimentConfig, trainable: list, rate: float) -> torch.optim.Optimizer:
    momentum = _hyper(config.momentum, config)
    if "momentum_schedule" in config.restore_defaults:
        return torch.optim.SGD(trainable, rate, momentum, weight_decay=_own_decay(config))
    return _KerasSGD(trainable, rate, momentum, _own_decay(config))


def _adam(config: ExperimentConfig, trainable: list, rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        trainable,
        rate,
        (config.beta_1, config.beta_2),
        eps=1e-8,  # PyTorch's default; `_follow_keras` sets another at each step
        weight_decay=_own_decay(config),
        decoupled_weight_decay=config.optimizer == "adamw",
        fused=True,
    )


def _own_decay(config: ExperimentConfig) -> float:
    """Return the decay that PyTorch's rule itself applies: none, unless its way is put back."""
    return config.weight_decay if "weight_decay" in config.restore_defaults else 0.0


def _clip(parameters: list[nn.Parameter], config: ExperimentConfig) -> None:
    """Scale all gradients together so that their global norm is at most `clip_norm`.

    `nn.utils.clip_grad_norm_` adds 1e-6 to the norm; Keras does not.
    """
    if "clipping" in config.restore_defaults:
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    scale = config.clip_norm * torch.minimum(1 / norm, torch.ones_like(norm) / config.clip_norm)
    torch._foreach_mul_(gradients, scale)


@torch.no_grad()
def _decay(optimizer: torch.optim.Optimizer, config: ExperimentConfig) -> None:
    """Shrink kernels by the rate times `weight_decay`, whatever the rule: decoupled decay.

    BatchNorm's scale and shift, and biases, are left alone.
    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """
    decay = _hyper(config.weight_decay, config)
    for group in optimizer.param_groups:
        kernels = [p for p in group["params"] if p.ndim > 1 and p.grad is not None]
        torch._foreach_mul_(kernels, 1 - decay * group["lr"])


def _follow_keras(optimizer: torch.optim.Adam, config: ExperimentConfig) -> None:
    """Make PyTorch's own Adam, fused kernel and all, take Keras's steps ("epsilon hat").

    With c1, c2 = 1 - beta1^t, 1 - beta2^t, Keras moves by a * m / (sqrt(v) + eps) where
    a = rate * sqrt(c2) / c1, PyTorch by rate / c1 * m / (sqrt(v / c2) + eps). They are one where
    PyTorch is given a * c1 / sqrt(c2) for its rate and eps / sqrt(c2) for its epsilon, set anew at
    each step t. (The former is the rate itself, but for the rounding of `_keras_step_size`.)

    Source: Kingma & Ba 2015, arXiv:1412.6980, the remark after algorithm 1.
    """
    for group in optimizer.param_groups:
        group["keras_step"] = 0

    def before_step(*_) -> None:
        for group in optimizer.param_groups:
            group["keras_step"] += 1
            c1, c2 = (1 - beta ** group["keras_step"] for beta in group["betas"])
            group["rate"] = group["lr"]
            group["eps"] = config.adam_epsilon / math.sqrt(c2)
            if "float32_hyper" not in config.restore_defaults:
                size = _keras_step_size(group["lr"], group["betas"], group["keras_step"])
                group["lr"] = size * c1 / math.sqrt(c2)

    def after_step(*_) -> None:
        for group in optimizer.param_groups:
            group["lr"] = group.pop("rate")

    optimizer.register_step_pre_hook(before_step)
    optimizer.register_step_post_hook(after_step)


def _keras_step_size(rate: float, betas: tuple[float, float], step: int) -> float:
    """Return rate * sqrt(1 - beta2^step) / (1 - beta1^step) with Keras's rounding.

    Keras raises float32 betas to the power, and under float32 subtracts in float32 too. That moves
    the first steps by up to 3e-5 relative, since 1 - 0.999 keeps four digits of float32's seven.
    """
    real = np.float32 if torch.get_default_dtype() == torch.float32 else np.float64
    one = real(1)
    c1, c2 = (one - real(np.float64(np.float32(beta)) ** step) for beta in betas)
    return float(real(rate) * np.sqrt(c2) / c1)


class _KerasSGD(torch.optim.Optimizer):
    """SGD whose velocity carries the rate, as in Keras.

    `torch.optim.SGD` multiplies the velocity by the rate of the moment, which is another path as
    soon as the rate changes.

    Source: Sutskever et al. 2013, section 2.
    """

    def __init__(self, trainable: list, rate: float, momentum: float, weight_decay: float):
        options = {"lr": rate, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(trainable, options)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in parameters]
            if group["weight_decay"]:  # coupled: PyTorch's way, put back
                gradients = torch._foreach_add(gradients, parameters, alpha=group["weight_decay"])
            velocities = [self._velocity(p) for p in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
            torch._foreach_add_(parameters, velocities)

    def _velocity(self, parameter: nn.Parameter) -> torch.Tensor:
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        return state["velocity"]


def _hyper(value: float, config: ExperimentConfig) -> float:
    """Round a hyper-parameter to float32, as Keras does even when it trains in float64.

    `keras.ops.cast(0.9, "float64")` is 0.8999999761581421.
    """
    return value if "float32_hyper" in config.restore_defaults else float(np.float32(value))
