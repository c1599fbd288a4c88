"""The loss and the update rules, in PyTorch, by Keras's definitions.

Differences named in the config's `restore_defaults` get PyTorch's default again; see
`src.differences`.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from src.config import ExperimentConfig
from src.xception.blocks import tensors
from src.xception.stages import all_layers, rate_scale

# logits (B, K), labels (B,), loss weights (B,) -> the batch's mean loss
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def make_loss(config: ExperimentConfig) -> Loss:
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

    It neither clips nor decays, unless the difference `weight_decay` is restored: before each step
    call `clip_gradients` and `decay_kernels`, which Keras's optimizers do by themselves. Whoever
    changes the rate multiplies it by each group's `rate_scale`.
    Twin: `src.tf.optim.make_optimizer`.
    """
    restored = config.restore_defaults
    trainable = _parameter_groups(model, config, rate)
    decay = config.weight_decay if "weight_decay" in restored else 0.0
    if config.optimizer == "sgd":
        rule = torch.optim.SGD if "momentum_schedule" in restored else _KerasSGD
        return rule(trainable, rate, _hyper(config.momentum, config), weight_decay=decay)
    options = {
        "lr": rate,
        "betas": (config.beta_1, config.beta_2),
        "weight_decay": decay,
        "decoupled_weight_decay": config.optimizer == "adamw",
        "fused": True,
    }
    if "adam_epsilon" in restored:
        return torch.optim.Adam(trainable, **options)
    return _KerasAdam(trainable, config, **options)


def make_scaler(config: ExperimentConfig, device: torch.device) -> torch.amp.GradScaler:
    """Return what scales the loss in float16, from the scale that Keras begins with.

    In other precisions it does nothing.
    Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.
    No twin: `keras.optimizers.LossScaleOptimizer` is an optimizer.
    """
    return torch.amp.GradScaler(
        device.type, init_scale=2.0**15, enabled=config.precision == "float16"
    )


def overflowed(optimizer: torch.optim.Optimizer, config: ExperimentConfig) -> bool:
    """Return whether a float16 gradient is not finite: the step must be left out.

    `GradScaler.step` would leave out the optimizer's step alone, not the decay and the average.
    Only in float16 does a step wait for the device, once, as PyTorch's own scaler does.
    No twin: Keras's `LossScaleOptimizer` leaves it out by itself.
    """
    if config.precision != "float16":
        return False
    parameters = (each for group in optimizer.param_groups for each in group["params"])
    finite = [p.grad.isfinite().all() for p in parameters if p.grad is not None]
    return not torch.stack(finite).all()


def _parameter_groups(model: nn.Module, config: ExperimentConfig, rate: float) -> list[dict]:
    """Group the trainable weights by the factor on their learning rate."""
    blocks = {
        ("" if tensor.layer.block == "head" else "backbone.")
        + tensor.torch_name: tensor.layer.block
        for tensor in tensors(all_layers(config))
    }
    groups = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = 1.0 if config.layer_decay == 1 else rate_scale(config, blocks[name])
            groups.setdefault(scale, []).append(parameter)
    return [
        {"params": parameters, "lr": rate * scale, "rate_scale": scale}
        for scale, parameters in groups.items()
    ]


def clip_gradients(parameters: Iterable[nn.Parameter], config: ExperimentConfig) -> None:
    """Scale all gradients together so that their global norm is at most `clip_norm`.

    `nn.utils.clip_grad_norm_` adds 1e-6 to the norm; Keras does not.
    No twin: Keras's optimizers clip by themselves.
    """
    if not config.clip_norm:
        return
    if "clipping" in config.restore_defaults:
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    scale = config.clip_norm * torch.minimum(1 / norm, torch.ones_like(norm) / config.clip_norm)
    torch._foreach_mul_(gradients, scale)


@torch.no_grad()
def decay_kernels(optimizer: torch.optim.Optimizer, config: ExperimentConfig) -> None:
    """Shrink kernels by the learning rate times `weight_decay`: decoupled decay.

    BatchNorm's scale and shift, and biases, are left alone.
    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    No twin: Keras's optimizers decay by themselves.
    """
    if not config.weight_decay or "weight_decay" in config.restore_defaults:
        return
    decay = _hyper(config.weight_decay, config)
    for group in optimizer.param_groups:
        kernels = [p for p in group["params"] if p.ndim > 1 and p.grad is not None]
        torch._foreach_mul_(kernels, 1 - decay * group["lr"])


@torch.no_grad()
def average_weights(optimizer: torch.optim.Optimizer, config: ExperimentConfig) -> None:
    """Move the average of each weight towards the weight; the first step's weights begin it.

    Averages lie in the optimizer's state, as in Keras; `AveragedModel` would copy the frozen
    blocks too.
    Source: Polyak & Juditsky 1992, doi:10.1137/0330046; exponential, as both frameworks do it.
    No twin: Keras's optimizers average by themselves.
    """
    if not config.ema_decay:
        return
    # In the precision of the weights, as Keras's; by way of NumPy, so that no device is asked.
    decay = torch.tensor(config.ema_decay).numpy().item()
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for parameter in parameters:
        if "average" not in optimizer.state[parameter]:
            optimizer.state[parameter]["average"] = parameter.detach().clone()
    averages = [optimizer.state[parameter]["average"] for parameter in parameters]
    get_ema_multi_avg_fn(decay)(averages, parameters, None)


@contextlib.contextmanager
def averaged_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let the trained weights be their averages within the block, if there are any.

    No twin: Keras's optimizers do the first half, `finalize_variable_values`.
    """
    averages = {p: s["average"] for p, s in optimizer.state.items() if "average" in s}
    trained = {parameter: parameter.detach().clone() for parameter in averages}
    _assign(averages)
    yield
    _assign(trained)


@torch.no_grad()
def _assign(values: dict[nn.Parameter, torch.Tensor]) -> None:
    for parameter, value in values.items():
        parameter.copy_(value)


class _KerasAdam(torch.optim.Adam):
    """PyTorch's Adam, fused kernel and all, that takes Keras's steps ("epsilon hat").

    With c1, c2 = 1 - beta1^t, 1 - beta2^t, Keras moves by a * m / (sqrt(v) + eps) where
    a = rate * sqrt(c2) / c1, PyTorch by rate / c1 * m / (sqrt(v / c2) + eps). They are equal where
    PyTorch gets a * c1 / sqrt(c2) as its rate and eps / sqrt(c2) as its epsilon, set at each step
    t. (The former is the rate itself, but for the rounding of `_keras_step_size`.)

    Source: Kingma & Ba 2015, arXiv:1412.6980, the remark after algorithm 1.
    """

    def __init__(self, trainable: list[dict], config: ExperimentConfig, **options):
        super().__init__(trainable, **options)
        self.config = config
        self.steps = 0  # counted here, too: those in the state lie on the device

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.steps = int(next(iter(self.state.values()), {"step": 0})["step"])

    def step(self, closure=None):
        self.steps += 1
        rates = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, rates):
            c1, c2 = (1 - beta**self.steps for beta in group["betas"])
            group["eps"] = self.config.adam_epsilon / math.sqrt(c2)
            if "float32_hyper" not in self.config.restore_defaults:
                step_size = _keras_step_size(rate, group["betas"], self.steps)
                group["lr"] = step_size * c1 / math.sqrt(c2)
        loss = super().step(closure)
        for group, rate in zip(self.param_groups, rates):
            group["lr"] = rate
        return loss


def _keras_step_size(rate: float, betas: tuple[float, float], step: int) -> float:
    """Return rate * sqrt(1 - beta2^step) / (1 - beta1^step) with Keras's rounding.

    Keras raises float32 betas to the power, and under float32 subtracts in float32 too. That moves
    the first steps by up to 3e-5 relative, since 1 - 0.999 keeps four digits of float32's seven.
    """
    dtype = np.float32 if torch.get_default_dtype() == torch.float32 else np.float64
    c1, c2 = (dtype(1) - dtype(np.float64(np.float32(beta)) ** step) for beta in betas)
    return float(dtype(rate) * np.sqrt(c2) / c1)


class _KerasSGD(torch.optim.Optimizer):
    """SGD whose velocity carries the rate, as in Keras.

    `torch.optim.SGD` multiplies the velocity by the current rate, which is another path as soon as
    the rate changes.

    Source: Sutskever et al. 2013, section 2.
    """

    def __init__(self, trainable: list[dict], rate: float, momentum: float, weight_decay: float):
        options = {"lr": rate, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(trainable, options)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in parameters]
            if group["weight_decay"]:  # coupled: PyTorch's restored default
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
