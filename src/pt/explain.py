"""Grad-CAM: which part of an image spoke for a class."""

import numpy as np
import torch
import torch.nn.functional as F

from src.pt.model import XceptionClassifier, block_end

BATCH = 16  # images at a time; bounds the memory


def grad_cam(
    model: XceptionClassifier,
    images: np.ndarray,
    classes: np.ndarray | None = None,
    block: str = "block14",
) -> np.ndarray:
    """Return for each image a map of what speaks for one class.

    The block's channels, each weighted by the mean gradient of the class's logit over it, summed;
    what speaks against the class is cut off at 0.

    Args:
        model: from `build_model`; left in inference mode.
        images: (N, S, S, 3) float32 in [-1, 1].
        classes: (N,) integers, for which class; by default the one predicted.
        block: "block1" to "block14"; the last is nearest to the decision, and coarsest.
    Returns:
        (N, s, s), at the resolution of the block, in units of the logit; float64 in that
        precision, else float32. `src.evaluation.localisation.enlarge` brings it to the image's.
    Source: Selvaraju et al. 2017, arXiv:1610.02391.
    Twin: `src.tf.explain.grad_cam`.
    """
    model.eval()
    maps = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        chosen = None if classes is None else classes[part]
        maps.append(_one_batch(model, images[part], chosen, block))
    return np.concatenate(maps)


def _one_batch(
    model: XceptionClassifier, images: np.ndarray, classes: np.ndarray | None, block: str
) -> np.ndarray:
    caught = {}

    def begin_here(_module, _inputs, output):
        # Gradients stop at the block, so that frozen layers before it cost nothing.
        caught["maps"] = output.detach().requires_grad_()
        return caught["maps"]

    with block_end(model, block).register_forward_hook(begin_here), torch.enable_grad():
        logits = model(torch.from_numpy(images).permute(0, 3, 1, 2))  # (B, K)
    maps = caught["maps"]  # (B, C, s, s)
    if classes is None:
        classes = logits.argmax(dim=1)
    chosen = logits.gather(1, torch.as_tensor(classes, device=logits.device)[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    cam = F.relu((weights * maps).sum(dim=1))  # (B, s, s)
    return cam.to(logits.dtype).numpy(force=True)
