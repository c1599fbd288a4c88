"""The one function that makes timm's Xception and Keras's the same."""

import torch
import torch.nn.functional as F
from torch import nn

from src.config import ExperimentConfig


def align(network: nn.Module, config: ExperimentConfig) -> nn.Module:
    """Make timm's `legacy_xception` compute what `keras.applications.Xception` computes.

    Same weights, three differences: BatchNorm's epsilon, its moving statistics, and where the
    stride-2 max-pools put their padding. `network` is changed in place and returned. (float64 also
    gets depthwise convolutions that compute the same, faster.)
    Twin: `src.tf.align.align`.
    """
    back = config.framework_defaults  # ledger rows that stay as timm has them
    epsilon = 1e-5 if "bn_epsilon" in back else config.bn_epsilon
    momentum = 0.1 if "bn_momentum" in back else 1 - config.bn_momentum
    batch_norm = nn.BatchNorm2d if "bn_variance" in back else _KerasBatchNorm2d
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, batch_norm(child.num_features, epsilon, momentum))
            elif type(child) is nn.MaxPool2d and "pool_padding" not in back:
                setattr(module, name, _SameMaxPool2d(3, 2))
            elif _is_depthwise(child) and config.precision == "float64":
                setattr(module, name, _DoubleDepthwise2d(child.in_channels))
    return network


class _KerasBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose moving variance is the biased one (divided by n), as in Keras.

    `F.batch_norm` writes the unbiased one. It writes here to clones, since changing its inputs
    before the backward pass is an autograd error.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, h, w) -> (B, C, h, w)
        if not self.training:
            return super().forward(x)
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        out = F.batch_norm(x, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
        count = x.numel() // x.shape[1]
        kept = self.running_var * (1 - self.momentum)
        with torch.no_grad():
            self.running_mean.copy_(mean)
            self.running_var.copy_(kept + (variance - kept) * ((count - 1) / count))
        return out


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
