"""Fixtures shared by all tests: where the real files are, and a cache of the tests' own."""

import os
from pathlib import Path

import pytest

# First of all: `src.pt` sets what PyTorch reads when it loads; and after TensorFlow, anything that
# loads triton would kill the process.
import src.pt  # noqa: F401  # isort: skip
import torchvision  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep derived files out of the user's cache, and share them between tests."""
    os.environ["BRAIN_TUMOR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def _from_environment(name: str) -> Path:
    value = os.environ.get(name)
    if not value or not Path(value).exists():
        pytest.skip(f"{name} is not set: the real files are not on this machine")
    return Path(value)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The Kaggle merge, or a skip."""
    return _from_environment("BRAIN_TUMOR_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """Keras's ImageNet weights up to block13, or a skip."""
    return _from_environment("XCEPTION_WEIGHTS")
