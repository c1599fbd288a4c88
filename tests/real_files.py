"""Where the real files are, taken out of the environment.

Every test that does not ask for them then runs on the phantom set, here as anywhere else.
"""

import os
from pathlib import Path

import pytest

NAMES = ("BRAIN_TUMOR_DATA", "FIGSHARE_DATA", "XCEPTION_WEIGHTS")
_GIVEN = {name: os.environ.pop(name, "") for name in NAMES}


def real_file(name: str) -> Path:
    """Return what the environment named `name`, or skip the test."""
    given = _GIVEN[name]
    if not given or not Path(given).exists():
        pytest.skip(f"{name} is not set: the real files are not on this machine")
    return Path(given)
