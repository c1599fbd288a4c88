"""The loss and the update rules, in PyTorch, by Keras's definitions."""

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
        return (each * weights.to(each)).mean()

    return loss


def make_optimizer(
    config: ExperimentConfig, model: nn.Module, rate: float
) -> torch.optim.Optimizer:
    """Return the config's optimizer for the trainable weights of `model`.

    Twin: `src.tf.optim.make_optimizer`.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        # Decay shrinks kernels; BatchNorm's scale and shift, and biases, are left alone.
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        optimizer = _KerasSGD(groups, rate, _as_keras(config.momentum))
    else:
        betas = (_as_keras(config.beta_1), _as_keras(config.beta_2))
        optimizer = _KerasAdam(groups, rate, betas, _as_keras(config.adam_epsilon))
    if config.clip_norm:
        # Keras's optimizers clip by themselves; so do these, just before each step.
        optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: _clip(trainable, config.clip_norm)
        )
    return optimizer


def _clip(parameters: list[nn.Parameter], longest: float) -> None:
    """Scale all gradients together so that their global norm is at most `longest`.

    `nn.utils.clip_grad_norm_` adds 1e-6 to the norm; Keras does not.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    scale = longest * torch.minimum(1 / norm, torch.ones_like(norm) / longest)
    torch._foreach_mul_(gradients, scale)


class _KerasAdam(torch.optim.AdamW):
    """Adam with Keras's epsilon ("epsilon hat"), still running PyTorch's fused kernel.

    Keras divides by sqrt(v) + eps and moves the bias correction into the rate; PyTorch divides by
    sqrt(v / c) + eps, c being 1 - beta2^t. They agree when PyTorch's epsilon is eps / sqrt(c),
    set anew at each step t.

    Source: Kingma & Ba 2015, arXiv:1412.6980, the remark after algorithm 1.
    """

    def __init__(self, groups: list[dict], rate: float, betas: tuple[float, float], eps: float):
        super().__init__(groups, rate, betas, eps, fused=True)
        for group in self.param_groups:
            group["keras_eps"], group["keras_step"] = eps, 0

    def step(self, closure=None):
        for group in self.param_groups:
            group["keras_step"] += 1
            correction = 1 - group["betas"][1] ** group["keras_step"]
            group["eps"] = group["keras_eps"] / math.sqrt(correction)
        return super().step(closure)


class _KerasSGD(torch.optim.Optimizer):
    """SGD whose velocity carries the rate, as in Keras, and whose decay is decoupled.

    `torch.optim.SGD` multiplies the velocity by the rate of the moment, which is another path as
    soon as the rate changes; its decay passes through the velocity.

    Source: Sutskever et al. 2013, section 2.
    """

    def __init__(self, groups: list[dict], rate: float, momentum: float):
        super().__init__(groups, {"lr": rate, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["weight_decay"] * group["lr"])
            velocities = [self._velocity(p) for p in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, [p.grad for p in parameters], alpha=-group["lr"])
            torch._foreach_add_(parameters, velocities)

    def _velocity(self, parameter: nn.Parameter) -> torch.Tensor:
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        return state["velocity"]


def _as_keras(value: float) -> float:
    """Round a hyper-parameter to float32, as Keras does even when it trains in float64."""
    return float(np.float32(value))
