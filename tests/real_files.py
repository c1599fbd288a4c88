"""Where the real files are, taken out of the environment.

Every test that does not ask for them then runs on the phantom set, here as anywhere else.
"""

import os
from pathlib import Path

import pytest

NAMES = ("BRAIN_TUMOR_DATA", "FIGSHARE_DATA", "XCEPTION_WEIGHTS")
# Under a name that only tests read, which the processes of `pytest -n` inherit.
_KEPT = "TESTS_"
for _name in NAMES:
    if _name in os.environ:
        os.environ[_KEPT + _name] = os.environ.pop(_name)


def real_file(name: str) -> Path:
    """Return what the environment named `name`, or skip the test."""
    given = os.environ.get(_KEPT + name, "")
    if not given or not Path(given).exists():
        pytest.skip(f"{name} is not set: the real files are not on this machine")
    return Path(given)
