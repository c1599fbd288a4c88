"""Heat maps: which part of an image spoke for a class."""

import numpy as np
import torch
import torch.nn.functional as F

from src.evaluation.localisation import check_method
from src.pt.model import XceptionClassifier, block_end

BATCH = 16  # images at a time; bounds the memory


def heat_maps(
    model: XceptionClassifier,
    images: np.ndarray,
    classes: np.ndarray,
    block: str,
    method: str,
) -> np.ndarray:
    """Return for each image a map of what speaks for one class.

    The block's channels, weighted by the gradient of the class's logit and summed; what speaks
    against the class is cut off at 0. Methods differ in a channel's weight: its mean gradient
    (Grad-CAM), the gradient at each place (HiResCAM), or the mean of the positive gradients with
    more weight where they are large (Grad-CAM++).

    Args:
        model: from `build_model`; left in inference mode.
        images: (N, S, S, 3) float32 in [-1, 1].
        classes: (N,) integers, the class that each map is for.
        block: "block1" to "block14"; the last is nearest to the decision, and coarsest.
        method: one of `src.evaluation.localisation.METHODS`.
    Returns:
        (N, s, s), at the resolution of the block, in units of the logit (but by Grad-CAM++);
        float64 in that precision, else float32. `src.evaluation.localisation.enlarge` brings it to
        the image's resolution.
    Raises:
        ValueError: there is no such method.
    Source: Selvaraju et al. 2017, arXiv:1610.02391; Draelos & Carin 2020, arXiv:2011.08891
    (HiResCAM); Chattopadhyay et al. 2018, arXiv:1710.11063, equation 19 (Grad-CAM++).
    Twin: `src.tf.explain.heat_maps`.
    """
    check_method(method)
    model.eval()
    maps = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        maps.append(_one_batch(model, images[part], classes[part], block, method))
    return np.concatenate(maps)


def _one_batch(
    model: XceptionClassifier,
    images: np.ndarray,
    classes: np.ndarray,
    block: str,
    method: str,
) -> np.ndarray:
    caught = {}

    def begin_here(_module, _inputs, output):
        # Gradients stop at the block, so that frozen layers before it cost nothing.
        caught["maps"] = output.detach().requires_grad_()
        return caught["maps"]

    with block_end(model, block).register_forward_hook(begin_here), torch.enable_grad():
        logits = model(torch.from_numpy(images).permute(0, 3, 1, 2))  # (B, K)
    maps = caught["maps"]  # (B, C, s, s)
    chosen = logits.gather(1, torch.as_tensor(classes, device=logits.device)[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, maps)
    cam = F.relu((_channel_weights(gradient, maps, method) * maps).sum(dim=1))  # (B, s, s)
    return cam.to(logits.dtype).numpy(force=True)


def _channel_weights(gradient: torch.Tensor, maps: torch.Tensor, method: str) -> torch.Tensor:
    """(B, C, s, s) twice -> (B, C, 1, 1), or (B, C, s, s) for HiResCAM."""
    if method == "hirescam":
        return gradient
    if method == "grad-cam":
        return gradient.mean(dim=(2, 3), keepdim=True)
    divisor = 2 * gradient**2 + maps.sum(dim=(2, 3), keepdim=True) * gradient**3
    alpha = torch.where(divisor == 0, 0, gradient**2 / divisor)
    return (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)
