"""The whole experiment on one page, in plain PyTorch and timm.

    python -m src.pt.one_page           # seconds: shows that it runs
    python -m src.pt.one_page quick     # minutes: starts from ImageNet, and learns

Xception learns to tell four kinds of brain MRI in up to two stages: first the head alone, on
ImageNet's features (`smoke`: a random network, and no stage is frozen; `quick` has no such stage);
then also the blocks from `unfreeze_from` on. The last epoch is tested. Given the same config, and
nothing in it that is left out here, every training step equals that of the full program,
`src.pt.train`, and of this page's twin in the other framework, `src.tf.one_page`, to rounding;
tests/twins/test_one_page.py compares them.
Left out here, and ignored if the config asks for it: checkpoints and resuming
(src/training/run.py), early stopping and the best epoch (src/training/schedule.py), averaged
weights (src/pt/train.py), the feature cache (src/pt/feature_cache.py), the mean over mirror
images (src/pt/predict.py), warm-up, other schedules and precisions (src/config.py). A hidden
layer in the head is not possible here. Unfrozen blocks keep their BatchNorm frozen by default.
"""

import sys
from pathlib import Path

import numpy as np
import timm
import torch
from sklearn.metrics import confusion_matrix
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from src.common.errors import InputError
from src.config import ExperimentConfig, preset
from src.data.batches import Batches
from src.data.dataset import open_dataset
from src.pt.align import align
from src.pt.optim import clip_gradients, decay_kernels, make_loss, make_optimizer
from src.xception.blocks import FEATURES, tensors
from src.xception.stages import FINETUNE, HEAD, all_layers, dropout_mask, trainable_layers
from src.xception.weights import initial_weights

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class _Xception(nn.Module):
    def __init__(self, config: ExperimentConfig):
        super().__init__()
        # timm's network differs from Keras's in BatchNorm and in the padding of its max-pools.
        self.backbone = align(timm.create_model("legacy_xception", num_classes=0), config)
        self.head = nn.ModuleDict({"logits": nn.Linear(FEATURES, len(config.classes))})

    def forward(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        features = self.backbone(images)  # (B, 3, S, S) -> (B, 2048)
        if mask is not None:  # dropout, by a mask from NumPy: Keras drops the same features
            features = features * mask  # 0 or 1 / (1 - dropout)
        return self.head["logits"](features)  # (B, K)

    def train(self, mode: bool = True) -> "_Xception":
        super().train(mode)
        for module in self.modules():
            # `requires_grad=False` does not stop a BatchNorm's moving statistics; `eval` does.
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self


def build_model(config: ExperimentConfig) -> nn.Module:
    """Return Xception with a head of one layer, and the weights that both frameworks start from.

    Twin: `src.tf.one_page.build_model`.
    """
    model = _Xception(config).to(DEVICE, memory_format=torch.channels_last)  # a third faster on CPU
    weights, state = initial_weights(config), model.state_dict()
    for entry in tensors(all_layers(config)):  # the whole table: Keras's names and axes <-> timm's
        value = torch.tensor(entry.to_torch(weights[entry.name]))
        state[_name(entry)].copy_(value)  # in place, as `load_state_dict` does
    return model


def run(config: ExperimentConfig, data_dir: Path | None = None) -> dict:
    """Train in two stages and score the test part.

    Args:
        config: the experiment; fields of what this page leaves out are ignored.
        data_dir: where the images are; see `open_dataset`, which makes synthetic ones if need be.
    Returns:
        loss, val_loss and val_accuracy, a number per epoch; classes, the names of the K; probs
        (N, K) of the N test images, accuracy and confusion_matrix (K, K), rows true; weights, as
        arrays by Keras's names.
    Raises:
        InputError: the images or the weights cannot be had.
    Twin: `src.tf.one_page.run`.
    """
    dataset = open_dataset(config, data_dir)
    config = dataset.config  # with the classes that the folders name
    train, val = dataset.batches("train", training=True), dataset.batches("val")
    test, statistics = dataset.batches("test"), dataset.statistics_batches()
    model, loss_function = build_model(config), make_loss(config)
    curves = {"loss": [], "val_loss": [], "val_accuracy": []}
    for stage, epochs, rate in (
        (HEAD, config.head_epochs, config.head_learning_rate),
        (FINETUNE, config.finetune_epochs, config.finetune_learning_rate),
    ):
        if not epochs:
            continue
        trainable = trainable_layers(config, stage)  # the head; in FINETUNE also later blocks
        for entry in tensors(all_layers(config)):
            if "/moving_" not in entry.name:  # moving statistics are buffers, not parameters
                model.get_parameter(_name(entry)).requires_grad = entry.layer.name in trainable
        optimizer = make_optimizer(config, model, rate)  # moments at 0; Keras's rules (optim.py)
        schedule = CosineAnnealingLR(optimizer, T_max=epochs * len(train))
        for _ in range(epochs):
            epoch, loss_sum = len(curves["loss"]), 0.0
            model.train()
            for index in range(len(train)):  # no DataLoader: NumPy makes whole batches
                images, labels, loss_weights, mask = _batch(train, config, epoch, index)
                loss = loss_function(model(images, mask), labels, loss_weights)
                optimizer.zero_grad()
                loss.backward()
                clip_gradients(model.parameters(), config)  # by global norm, as Keras does
                decay_kernels(optimizer, config)  # decoupled, as in AdamW; kernels only
                optimizer.step()
                schedule.step()  # the learning rate falls with every step, not every epoch
                loss_sum += loss.item() * len(images)
            _measure_statistics(model, statistics, config)
            logits, labels = _predict(model, val, config), torch.from_numpy(val.labels)
            curves["loss"].append(loss_sum / train.images_per_epoch)
            curves["val_loss"].append(loss_function(logits, labels, torch.ones(len(labels))).item())
            curves["val_accuracy"].append((logits.argmax(1) == labels).float().mean().item())
            print(f"stage {stage}", *(f"{name} {c[-1]:.4f}" for name, c in curves.items()))
    probs = _predict(model, test, config).softmax(dim=1).numpy()  # (N, K)
    state, predicted = model.state_dict(), probs.argmax(axis=1)
    return curves | {
        "classes": config.classes,
        "probs": probs,
        "accuracy": float((predicted == test.labels).mean()),
        "confusion_matrix": confusion_matrix(
            test.labels, predicted, labels=range(len(config.classes))
        ),
        "weights": {
            entry.name: entry.from_torch(state[_name(entry)].numpy(force=True))
            for entry in tensors(all_layers(config))
        },
    }


def _name(entry) -> str:
    return entry.torch_name if entry.layer.block == "head" else f"backbone.{entry.torch_name}"


def _batch(batches: Batches, config: ExperimentConfig, epoch: int, index: int) -> tuple:
    images, labels, loss_weights = batches.batch(epoch, index)  # (B, S, S, 3), (B,), (B,)
    step = epoch * len(batches) + index
    mask = dropout_mask(config.seed, step, (len(images), FEATURES), config.dropout)
    images = np.moveaxis(images, 3, 1)  # (B, 3, S, S), not copied: torch's channels_last
    return tuple(torch.from_numpy(a).to(DEVICE) for a in (images, labels, loss_weights, mask))


@torch.no_grad()
def _measure_statistics(model: nn.Module, batches: Batches, config: ExperimentConfig) -> None:
    """Measure what BatchNorm uses in `eval`; its moving statistics lag behind trained weights."""
    model.train()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    norms = [layer for layer in norms if layer.training]  # not the frozen ones
    seen = 0
    for index in range(len(batches) if norms else 0):
        images = _batch(batches, config, 0, index)[0]
        seen += len(images)
        for norm in norms:
            norm.momentum = len(images) / seen  # of a mean over all images so far
        model(images)
    for norm in norms:
        norm.momentum = 1 - config.bn_momentum


@torch.inference_mode()
def _predict(model: nn.Module, batches: Batches, config: ExperimentConfig) -> torch.Tensor:
    model.eval()
    images = (_batch(batches, config, 0, index)[0] for index in range(len(batches)))
    return torch.cat([model(each).cpu() for each in images])  # (N, K) logits


def main(name: str = "smoke") -> None:
    """Run the preset called `name`, and print the score.

    Twin: `src.tf.one_page.main`.
    """
    result = run(preset(name))
    names = result["classes"]
    print(f"test accuracy {result['accuracy']:.3f}; rows true, columns predicted:", *names)
    print(result["confusion_matrix"])


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
