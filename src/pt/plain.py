"""Xception as people usually write it: plain timm and PyTorch, nothing of this package.

`python src/pt/plain.py` prints how many images a second it trains and predicts, so that anyone can
check the table of `python -m src bench`. Random images, random weights: the speed is the same.
"""

import time
from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
from torch.nn import BatchNorm2d


def make_step(
    task: str, image_size: int = 224, batch_size: int = 16, variant: str = "", precision: str = ""
) -> Callable[[], object]:
    """Return a function that takes one step, and returns when it is done.

    Args:
        task: "train", "train from block13" or "forward".
        image_size, batch_size: of the random images, px and number.
        variant: "channels_last" or "torch.compile"; else the plain form.
        precision: "bfloat16" for autocast; else float32.
    Twin: `src.tf.plain.make_step`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.rand(batch_size, 3, image_size, image_size, device=device) * 2 - 1
    labels = torch.randint(4, (batch_size,), device=device)
    model = timm.create_model("legacy_xception", num_classes=4).to(device)
    if variant == "channels_last":
        model, images = (each.to(memory_format=torch.channels_last) for each in (model, images))
    if task == "train from block13":
        trained = ("block12.", "conv3.", "bn3.", "conv4.", "bn4.", "fc.")  # timm counts from 0
        for name, weights in model.named_parameters():
            weights.requires_grad = name.startswith(trained)
    optimizer = torch.optim.Adam(w for w in model.parameters() if w.requires_grad)
    run = torch.compile(model) if variant == "torch.compile" else model
    autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def train() -> None:
        optimizer.zero_grad()
        with autocast:
            loss = F.cross_entropy(run(images), labels)
        loss.backward()
        optimizer.step()
        wait()

    @torch.inference_mode()
    def forward() -> None:
        with autocast:
            run(images)
        wait()

    model.train(task != "forward")
    if task == "train from block13":
        for module in model.modules():  # a frozen BatchNorm keeps its statistics, as in Keras
            if isinstance(module, BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
    return forward if task == "forward" else train


if __name__ == "__main__":
    for task in ("train", "forward"):
        step = make_step(task)
        for _ in range(3):  # the first ones are slower
            step()
        started = time.perf_counter()
        for _ in range(10):
            step()
        print(f"{task}: {10 * 16 / (time.perf_counter() - started):.1f} images/s")
