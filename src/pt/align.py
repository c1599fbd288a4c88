"""The one function that makes timm's Xception and Keras's the same.

No twin: Keras's network is the standard, and `src.tf.model.build_model` gives it the config's
BatchNorm epsilon and momentum in two lines.
"""

import torch
import torch.nn.functional as F
from torch import nn

from src.config import ExperimentConfig
from src.pt.runtime import replica, sum_over_replicas

_MANY_CHANNELS = 512  # from here on a matrix product is faster than a convolution


def align(network: nn.Module, config: ExperimentConfig) -> nn.Module:
    """Make timm's `legacy_xception` compute what `keras.applications.Xception` computes.

    Same weights, three differences: BatchNorm's epsilon, its moving statistics, and where the
    stride-2 max-pools put their padding. `network` is changed in place and returned. (Pointwise
    convolutions of many channels, and in float64 depthwise ones, also get modules that compute the
    same, faster.)
    """
    restored = config.restore_defaults  # differences that stay as timm has them
    epsilon = 1e-5 if "bn_epsilon" in restored else config.bn_epsilon
    momentum = 0.1 if "bn_momentum" in restored else 1 - config.bn_momentum
    batch_norm = nn.BatchNorm2d if "bn_variance" in restored else _KerasBatchNorm2d
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, batch_norm(child.num_features, epsilon, momentum))
            elif type(child) is nn.MaxPool2d and "pool_padding" not in restored:
                setattr(module, name, _SameMaxPool2d(3, 2))
            elif _is_pointwise(child) and child.in_channels >= _MANY_CHANNELS:
                setattr(module, name, _Pointwise2d(child.in_channels, child.out_channels))
            elif _is_depthwise(child) and config.precision == "float64":
                setattr(module, name, _DoubleDepthwise2d(child.in_channels))
    return network


class _KerasBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose moving variance is the biased one (divided by n), as in Keras."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, h, w) -> (B, C, h, w)
        if not self.training:
            return super().forward(x)
        normalise = _Normalise if replica()[1] == 1 else _NormaliseTogether
        out, mean, variance = normalise.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return out


class _Normalise(torch.autograd.Function):
    """Training-mode BatchNorm whose mean and variance keep their last digits.

    PyTorch's CPU kernel for channels_last adds the pixels of a channel one after the other. In
    float32 that costs Xception's first gradients most of a digit: they are off float64's by 1e-2,
    with `torch.sum`, which adds in blocks, by 2e-3. The backward kernel is PyTorch's.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, epsilon):  # (B, C, h, w) -> (B, C, h, w), (C,), (C,)
        pixels, count = (0, 2, 3), x.numel() // x.shape[1]
        mean = x.sum(pixels, dtype=weight.dtype) / count
        variance = (x - mean.view(1, -1, 1, 1)).square_().sum(pixels) / count
        ctx.save_for_backward(x, weight, mean, (variance + epsilon).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        out = F.batch_norm(x, mean, variance, weight, bias, training=False, eps=epsilon)
        return out, mean, variance

    @staticmethod
    def backward(ctx, gradient, *_):
        x, weight, mean, inverse = ctx.saved_tensors
        gradients = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse, True, 0.0, [True, True, True]
        )
        return *gradients, None


class _NormaliseTogether(torch.autograd.Function):
    """`_Normalise` over the images of all replicas.

    `nn.SyncBatchNorm` needs GPUs, and keeps the other moving variance.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, epsilon):  # (B, C, h, w) -> (B, C, h, w), (C,), (C,)
        pixels, x_ = (0, 2, 3), x.to(weight.dtype)
        count = sum_over_replicas(x_.new_tensor(x.numel() // x.shape[1]))
        mean = sum_over_replicas(x_.sum(pixels)) / count
        variance = (x_ - mean.view(1, -1, 1, 1)).square_().sum(pixels)
        variance = sum_over_replicas(variance) / count
        ctx.save_for_backward(x, weight, mean, (variance + epsilon).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance)
        out = F.batch_norm(x, mean, variance, weight, bias, training=False, eps=epsilon)
        return out, mean, variance

    @staticmethod
    def backward(ctx, gradient, *_):
        x, weight, mean, inverse, count = ctx.saved_tensors
        mean, scale = mean.view(1, -1, 1, 1), inverse.view(1, -1, 1, 1)
        normalised, of_out = (x - mean) * scale, gradient.to(weight.dtype)
        of_bias, of_weight = (each.sum((0, 2, 3)) for each in (of_out, of_out * normalised))
        means = sum_over_replicas(torch.stack([of_bias, of_weight])) / count
        first, second = means.view(2, 1, -1, 1, 1)
        of_x = (of_out - first - normalised * second) * scale * weight.view(1, -1, 1, 1)
        return of_x.to(x.dtype), of_weight, of_bias, None


def _is_pointwise(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.kernel_size == module.stride == (1, 1)


class _Pointwise2d(nn.Conv2d):
    """A 1 x 1 convolution of stride 1, as a matrix product.

    On CPU, PyTorch's convolution has to reorder weights that change in every step, and in 16 bits
    it is the slower one in inference, too.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, h, w) -> (B, D, h, w)
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(
            0, 3, 1, 2
        )


def _is_depthwise(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.groups == module.in_channels > 1


class _DoubleDepthwise2d(nn.Conv2d):
    """A 3 x 3 depthwise convolution of stride 1, summed tap by tap.

    In float64 PyTorch's CPU kernel goes through the channels one by one, which takes most of a
    training step's time: Xception has 34 of these, of up to 1,536 channels.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, h, w) -> (B, C, h, w)
        height, width = x.shape[2:]
        padded = F.pad(x, (1, 1, 1, 1))
        out = torch.zeros_like(x)
        for tap, weight in enumerate(self.weight.flatten(1).unbind(1)):
            down, right = divmod(tap, 3)
            moved = padded[:, :, down : down + height, right : right + width]
            out = torch.addcmul(out, moved, weight.view(1, -1, 1, 1))
        return out


class _SameMaxPool2d(nn.MaxPool2d):
    """3 x 3 max-pooling of stride 2 with TensorFlow's `same` padding.

    An odd side is padded by one pixel at each end, an even one at its end only. There `ceil_mode`
    lets the last window reach beyond, which saves the copy that `F.pad` would make.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, h, w) -> (B, C, h/2, w/2)
        padding = tuple(side % 2 for side in x.shape[2:])
        return F.max_pool2d(x, 3, 2, padding, ceil_mode=True)
