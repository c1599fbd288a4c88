"""Fixtures shared by all tests: where the real files are, and a cache of the tests' own."""

import collections
import os
import time
from pathlib import Path

import pytest

# Two test processes on two cores are faster than one with two threads (`pytest -n 2`). Each keeps
# to one core, with the processes that it starts: the twins have as many threads as cores.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    for limit in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(limit, "1")
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[int(worker.removeprefix("gw")) % len(allowed)]})

# First of all: `src.pt` sets what PyTorch reads when it loads; and after TensorFlow, anything that
# loads triton would kill the process.
import src.pt  # noqa: F401  # isort: skip
import torchvision  # noqa: F401  # isort: skip
from real_files import real_file

# Fixtures that need the real files.
REAL = {"real_data", "real_weights", "real_catalog", "real_grouping"}
CAMPAIGNS = pytest.StashKey()  # the names of the `full` tests that were collected
RECORDED = Path(__file__).parent / "full.json"  # how they ended, each when it last ran


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark what needs real files; put the files with the most slow tests first."""
    for item in items:
        if REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker("real")
        if item.get_closest_marker("real") or item.get_closest_marker("full"):
            item.add_marker("slow")
    config.stash[CAMPAIGNS] = [item.nodeid for item in items if item.get_closest_marker("full")]
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_runtest_logreport(report):
    """Record how a long campaign ended; the processes of `pytest -n` leave that to their parent."""
    ended = report.when == "call" or report.outcome != "passed"
    if "full" not in report.keywords or not ended or "PYTEST_XDIST_WORKER" in os.environ:
        return
    from src.common.files import read_json, write_json
    from src.common.hardware import commit

    recorded = read_json(RECORDED) if RECORDED.is_file() else {}
    recorded[report.nodeid] = {
        "outcome": report.outcome,
        "minutes": round(report.duration / 60, 1),
        "day": time.strftime("%Y-%m-%d"),
        "commit": commit(),
    }
    write_json(RECORDED, dict(sorted(recorded.items())))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep derived files out of the user's cache; the processes of `pytest -n` share one."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    os.environ["BRAIN_TUMOR_CACHE"] = str(folder / "cache")


@pytest.fixture(scope="session", autouse=True)
def phantoms(own_cache):
    """Name the phantom set where `dataset/` holds images, which tests would read instead."""
    from src.data.folders import find_own_images
    from src.data.phantom.write import default_phantom

    if find_own_images():
        os.environ["BRAIN_TUMOR_DATA"] = str(default_phantom())


@pytest.fixture(autouse=True)
def nothing_announced():
    """Let each test see what is said once per process, in whatever order they run."""
    # Not by the test's `monkeypatch`: begun first, it would end after `tmp_path`, whose removal
    # would then meet what the test has replaced, such as `os.scandir`.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.data.dataset._announced", set())
        yield


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Let a test write derived files to an empty folder of its own, and return it."""
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The Kaggle merge, or a skip."""
    return real_file("BRAIN_TUMOR_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """Keras's ImageNet weights up to block13, or a skip."""
    return real_file("XCEPTION_WEIGHTS")


@pytest.fixture(scope="session")
def real_catalog(real_data, own_cache):
    """The merge's files, hashed once for all tests."""
    from src.data.catalog import read_catalog

    return read_catalog(real_data)


@pytest.fixture(scope="session")
def real_grouping(real_catalog):
    """The merge, decoded and searched once for all tests: pairs, patients, groups."""
    from src.data.splits.groups import group_catalog

    return group_catalog(real_catalog)


@pytest.fixture
def offline(monkeypatch):
    """Let every connection be refused at once, on any machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """The path of a weights file with a made backbone, and no head."""
    from made_weights import backbone_file

    return str(backbone_file(tmp_path_factory.mktemp("weights")))
