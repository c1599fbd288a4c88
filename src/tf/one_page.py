"""The whole experiment on one page, in plain Keras.

    python -m src.tf.one_page           # seconds: shows that it runs
    python -m src.tf.one_page quick     # minutes: starts from ImageNet, and learns

Xception learns to tell four kinds of brain MRI in up to two stages: first the head alone, on
ImageNet's features (`smoke`: a random network, and no stage is frozen; `quick` has no such stage);
then also the blocks from `unfreeze_from` on. The last epoch is tested. Given the same config, and
nothing in it that is left out here, every training step equals that of the full program,
`src.tf.train`, and of this page's twin in the other framework, `src.pt.one_page`, to rounding;
tests/twins/test_one_page.py compares them.
Left out here, and ignored if the config asks for it: checkpoints and resuming
(src/training/run.py), early stopping and the best epoch (src/training/schedule.py), averaged
weights (src/tf/train.py), the feature cache (src/tf/feature_cache.py), the mean over mirror
images (src/tf/predict.py), warm-up, other schedules and precisions (src/config.py). A hidden
layer in the head is not possible here. Unfrozen blocks keep their BatchNorm frozen by default.
"""

import dataclasses
import sys
from pathlib import Path

import keras
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from src.common.errors import InputError
from src.config import ExperimentConfig, preset
from src.data.batches import Batches
from src.data.dataset import open_dataset
from src.tf.optim import make_loss, make_optimizer
from src.xception.blocks import FEATURES
from src.xception.stages import FINETUNE, HEAD, all_layers, dropout_mask, trainable_layers
from src.xception.weights import initial_weights


class _Batches(keras.utils.PyDataset):
    """Keras's view of `Batches`: ((images, dropout masks), one-hot labels, loss weights)."""

    def __init__(self, batches: Batches, config: ExperimentConfig, dropout: float = 0.0):
        super().__init__()
        self.batches, self.seed, self.dropout = batches, config.seed, dropout
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple:
        images, labels, loss_weights = self.batches.batch(self.epoch, index)  # (B, S, S, 3), (B,)
        step = self.epoch * len(self) + index
        mask = dropout_mask(self.seed, step, (len(images), FEATURES), self.dropout)
        one_hot = keras.utils.to_categorical(labels, self.batches.class_count)  # (B, K)
        return (images, mask), one_hot, loss_weights


class _Epochs(keras.callbacks.Callback):
    """Tells the batches which epoch it is; measures BatchNorm's statistics before validation."""

    def __init__(self, train: _Batches, statistics: _Batches, momentum: float):
        super().__init__()
        self.train, self.statistics, self.momentum = train, statistics, momentum

    def on_epoch_begin(self, epoch, logs=None):
        self.train.epoch = epoch  # decides the order of the images and their dropout masks

    def on_test_begin(self, logs=None):
        """Moving statistics lag behind trained weights: take the means over a fixed sample."""
        norms = [n for n in self.model.layers if isinstance(n, keras.layers.BatchNormalization)]
        norms = [norm for norm in norms if norm.trainable]
        values = [value for norm in norms for value in (norm.moving_mean, norm.moving_variance)]
        sums, seen = [0.0] * len(values), 0
        for norm in norms:
            norm.momentum = 0.0  # the moving statistics become the batch's
        for inputs, labels, _ in self.statistics if norms else ():
            self.model(inputs, training=True)
            seen += len(labels)
            sums = [total + len(labels) * value.numpy() for total, value in zip(sums, values)]
        for total, value in zip(sums, values):
            value.assign(total / seen)
        for norm in norms:
            norm.momentum = self.momentum


def build_model(config: ExperimentConfig) -> keras.Model:
    """Return Xception with a head of one layer, and the weights that both frameworks start from.

    Twin: `src.pt.one_page.build_model`.
    """
    side = config.image_size if config.image_size == config.eval_size else None  # None: any
    backbone = keras.applications.Xception(
        include_top=False, weights=None, input_shape=(side, side, 3)
    )  # (B, S, S, 3) -> (B, s, s, 2048)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon, layer.momentum = config.bn_epsilon, config.bn_momentum
    # Dropout by a mask from NumPy, as a second input (ones when testing): the twin drops the same.
    mask = keras.Input((FEATURES,), name="dropout_mask")
    features = keras.layers.GlobalAveragePooling2D()(backbone.output)  # (B, 2048)
    features = keras.layers.Multiply()([features, mask])
    logits = keras.layers.Dense(len(config.classes), name="head_logits")(features)  # (B, K)
    model = keras.Model([backbone.input, mask], logits)
    weights = initial_weights(config)
    for spec, layer in _layers(model, config):
        layer.set_weights([weights[f"{spec.name}/{tensor}"] for tensor in spec.shapes()])
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
    Twin: `src.pt.one_page.run`.
    """
    config = dataclasses.replace(config, ema_decay=0.0)  # `fit` would end with the averages
    dataset = open_dataset(config, data_dir)
    config = dataset.config  # with the classes that the folders name
    train = _Batches(dataset.batches("train", training=True), config, config.dropout)
    val, test = (_Batches(dataset.batches(part), config) for part in ("val", "test"))
    statistics = _Batches(dataset.statistics_batches(), config)
    model = build_model(config)
    curves = {"loss": [], "val_loss": [], "val_accuracy": []}
    for stage, epochs, rate in (
        (HEAD, config.head_epochs, config.head_learning_rate),
        (FINETUNE, config.finetune_epochs, config.finetune_learning_rate),
    ):
        if not epochs:
            continue
        trainable = trainable_layers(config, stage)  # the head; in FINETUNE also later blocks
        for spec, layer in _layers(model, config):
            layer.trainable = spec.name in trainable  # a frozen BatchNorm keeps its statistics too
        # The learning rate falls with every step, not every epoch.
        schedule = keras.optimizers.schedules.CosineDecay(rate, decay_steps=epochs * len(train))
        model.compile(
            make_optimizer(config, model, schedule),  # a new one; clips, and decays kernels, too
            loss=make_loss(config),
            metrics=["accuracy"],
            jit_compile=False,  # XLA is five times slower on CPU
        )
        done = len(curves["loss"])
        history = model.fit(
            train,
            validation_data=val,
            initial_epoch=done,
            epochs=done + epochs,  # the epoch to stop before
            shuffle=False,  # `Batches` shuffles, for both frameworks alike
            callbacks=[_Epochs(train, statistics, config.bn_momentum)],
            verbose=2,
        )
        for name, values in curves.items():
            values += history.history[name]
    probs = softmax(model.predict(test, verbose=0), axis=1)  # (N, K)
    labels, predicted = test.batches.labels, probs.argmax(axis=1)
    return curves | {
        "classes": config.classes,
        "probs": probs,
        "accuracy": float((predicted == labels).mean()),
        "confusion_matrix": confusion_matrix(labels, predicted, labels=range(len(config.classes))),
        "weights": {
            f"{spec.name}/{tensor}": array
            for spec, layer in _layers(model, config)
            for tensor, array in zip(spec.shapes(), layer.get_weights(), strict=True)
        },
    }


def _layers(model: keras.Model, config: ExperimentConfig) -> list[tuple]:
    """Pair the table of layers with Keras's, by order: Keras numbers some names per process."""
    with_weights = [layer for layer in model.layers if layer.weights]
    return list(zip(all_layers(config), with_weights, strict=True))


def main(name: str = "smoke") -> None:
    """Run the preset called `name`, and print the score.

    Twin: `src.pt.one_page.main`.
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
