"""A cache of a test's own, where it matters what is in it."""

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Let derived files be written to an empty folder, and return it."""
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
