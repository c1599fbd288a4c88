"""Both twins' update rules and losses against one oracle in NumPy, written from the definitions."""

import copy

import numpy as np
import pytest
import torch

from src.config import CLASS_NAMES, ExperimentConfig
from src.experiment import load_twin
from src.pt.checkpoint import optimizer_state, restore_optimizer
from src.pt.optim import make_optimizer

BOTH = pytest.mark.parametrize("framework", ["tf", "pt"])
# Rounded as `Schedule.rate` rounds them; a change of rate parts the rules of momentum.
RATES = tuple(float(np.float32(rate)) for rate in (1e-2, 1e-2, 3e-3, 1e-3))
RECIPE = dict(precision="float64", weight_decay=0.01, clip_norm=0.5)
RULES = pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])

rng = np.random.default_rng(0)
KERNEL, BIAS = rng.normal(size=(3, 4)), rng.normal(size=4)
GRADIENTS = [(rng.normal(size=(3, 4)), rng.normal(size=4)) for _ in RATES]
LOGITS, LABELS = rng.normal(size=(5, 4)), np.array([0, 3, 1, 2, 3])
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25, 2.0], np.float32)


@pytest.fixture(autouse=True)
def precision():
    """Leave both frameworks at float32 for the tests that follow."""
    yield
    for framework in ("tf", "pt"):
        load_twin(framework).runtime.set_precision("float32")


def f32(value):
    return float(np.float32(value))


def oracle(config):
    """Train (kernel, bias) over RATES on GRADIENTS by Keras's rules, in float64."""
    values = [KERNEL.copy(), BIAS.copy()]
    first, second = ([np.zeros_like(v) for v in values] for _ in range(2))
    for step, (rate, gradients) in enumerate(zip(RATES, GRADIENTS), 1):
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        gradients = [g * min(config.clip_norm / norm, 1) for g in gradients]
        values[0] = values[0] - values[0] * f32(config.weight_decay) * rate  # not the bias
        for index, gradient in enumerate(gradients):
            if config.optimizer == "sgd":
                first[index] = first[index] * f32(config.momentum) - rate * gradient
                values[index] = values[index] + first[index]
                continue
            first[index] += (gradient - first[index]) * (1 - config.beta_1)
            second[index] += (gradient**2 - second[index]) * (1 - config.beta_2)
            c1, c2 = (1 - f32(beta) ** step for beta in (config.beta_1, config.beta_2))
            size = rate * np.sqrt(c2) / c1
            values[index] -= size * first[index] / (np.sqrt(second[index]) + config.adam_epsilon)
    return values


def trained(framework, config):
    """Train (kernel, bias) as the twin does."""
    load_twin(framework).runtime.set_precision(config.precision)
    return (trained_tf if framework == "tf" else trained_pt)(config)


def trained_tf(config):
    import keras

    from src.tf.optim import make_optimizer

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.set_weights([KERNEL, BIAS])
    optimizer = make_optimizer(config, model, 1.0)
    for rate, gradients in zip(RATES, GRADIENTS):
        optimizer.learning_rate = rate
        gradients = [keras.ops.convert_to_tensor(g, config.precision) for g in gradients]
        optimizer.apply(gradients, model.trainable_variables)
    return model.get_weights()


def trained_pt(config):
    import torch

    from src.pt.optim import clip_gradients, decay_kernels, make_optimizer

    model = torch.nn.Linear(3, 4)
    parameters = (model.weight, model.bias)
    for parameter, value in zip(parameters, (KERNEL.T, BIAS)):
        parameter.data.copy_(torch.from_numpy(value.copy()))
    optimizer = make_optimizer(config, model, 1.0)
    for rate, gradients in zip(RATES, GRADIENTS):
        optimizer.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(parameters, (gradients[0].T, gradients[1])):
            # Contiguous as the parameter is: the fused kernels walk both as flat memory.
            parameter.grad = torch.tensor(np.ascontiguousarray(gradient), dtype=parameter.dtype)
        clip_gradients(parameters, config)
        decay_kernels(optimizer, config)
        optimizer.step()
    return [model.weight.detach().numpy().T, model.bias.detach().numpy()]


def farthest(ours, theirs):
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs))


@BOTH
@RULES
def test_update_rules_match_the_oracle(framework, optimizer):
    config = ExperimentConfig(optimizer=optimizer, **RECIPE)
    assert farthest(trained(framework, config), oracle(config)) < 1e-14


@pytest.mark.parametrize(
    "optimizer, rows",
    [
        ("sgd", ["clipping", "float32_hyper", "momentum_schedule", "weight_decay"]),
        ("adam", ["adam_epsilon", "clipping", "float32_hyper", "weight_decay"]),
        ("adamw", ["adam_epsilon", "clipping", "float32_hyper", "weight_decay"]),
    ],
)
def test_pytorch_rows_put_back_leave_the_oracle(optimizer, rows):
    for row in rows:
        config = ExperimentConfig(optimizer=optimizer, restore_defaults=(row,), **RECIPE)
        assert farthest(trained("pt", config), oracle(config)) > 1e-10, row


@RULES
def test_stock_is_pytorchs_own_optimizer(optimizer):
    """All defaults restored, AdamW and SGD are `torch.optim`'s to the last bit."""
    import torch

    rows = ("adam_epsilon", "clipping", "float32_hyper", "momentum_schedule", "weight_decay")
    config = ExperimentConfig(optimizer=optimizer, restore_defaults=rows, **RECIPE)
    ours = trained("pt", config)
    parameters = [torch.nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (KERNEL, BIAS)]
    stock = {
        "sgd": lambda: torch.optim.SGD(parameters, 1.0, momentum=0.9, weight_decay=0.01),
        "adam": lambda: torch.optim.Adam(parameters, 1.0, weight_decay=0.01, fused=True),
        "adamw": lambda: torch.optim.AdamW(parameters, 1.0, weight_decay=0.01, fused=True),
    }[optimizer]()
    for rate, gradients in zip(RATES, GRADIENTS):
        stock.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        stock.step()
    assert farthest(ours, [p.detach().numpy() for p in parameters]) == 0


def test_keras_decays_biases_too_by_itself():
    config = ExperimentConfig(optimizer="adamw", **RECIPE)
    stock = ExperimentConfig(optimizer="adamw", restore_defaults=("weight_decay",), **RECIPE)
    exact, restored = trained("tf", config), trained("tf", stock)
    assert farthest(exact[:1], restored[:1]) == 0
    assert farthest(exact[1:], restored[1:]) > 1e-6


def test_first_float32_steps_have_keras_rounding():
    """In float32, Keras's 1 - 0.999 is 1.3e-5 off; both twins' steps must be off alike."""
    exact, stock = (
        ExperimentConfig(optimizer="adam", restore_defaults=rows, beta_2=0.99999)
        for rows in ((), ("float32_hyper",))
    )
    keras, exact_pt, stock_pt = (
        trained("tf", exact), trained("pt", exact), trained("pt", stock)
    )  # fmt: skip
    assert farthest(keras, exact_pt) < 3e-7  # one last bit of numbers of about 2
    assert farthest(keras, stock_pt) > 1e-5


def loss(framework, config):
    """Return the twin's loss of LOGITS, weighted."""
    load_twin(framework).runtime.set_precision(config.precision)
    if framework == "tf":
        from src.tf.optim import make_loss

        return float(make_loss(config)(np.eye(len(CLASS_NAMES))[LABELS], LOGITS, WEIGHTS))
    import torch

    from src.pt.optim import make_loss

    tensors = (torch.from_numpy(array) for array in (LOGITS, LABELS, WEIGHTS))
    return make_loss(config)(*tensors).item()


@BOTH
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_match_the_definition(framework, smoothing):
    config = ExperimentConfig(precision="float64", label_smoothing=smoothing)
    targets = np.eye(4)[LABELS] * (1 - smoothing) + smoothing / 4
    log_probs = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    each = -(targets * log_probs).sum(axis=1)
    assert loss(framework, config) == pytest.approx((each * WEIGHTS).sum() / 5, rel=1e-14)
    if framework == "pt":
        stock = ExperimentConfig(
            precision="float64", label_smoothing=smoothing, restore_defaults=("class_weights",)
        )
        weighted = (each * WEIGHTS).sum() / WEIGHTS.sum()
        assert loss("pt", stock) == pytest.approx(weighted, rel=1e-14)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_restored_moments_keep_the_memory_order_of_their_weights(optimizer):
    """A fused kernel walks raw memory: moments in another order would meet other weights."""
    config = ExperimentConfig(optimizer=optimizer)
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    conv = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    twin = copy.deepcopy(conv)

    def steps(module, rule, count):
        for _ in range(count):
            rule.zero_grad()
            module(images).square().sum().backward()
            rule.step()

    rule = make_optimizer(config, conv, 0.1)
    steps(conv, rule, 2)
    # A checkpoint file keeps arrays in C order.
    state = {name: np.ascontiguousarray(a) for name, a in optimizer_state(rule).items()}
    twin.load_state_dict(conv.state_dict())
    restored = make_optimizer(config, twin, 0.1)
    restore_optimizer(restored, state)
    steps(conv, rule, 1)
    steps(twin, restored, 1)
    assert torch.equal(conv.weight, twin.weight)
