"""The grid on Dask: two workers, one of them killed, leave what one process leaves."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dask
import distributed
import numpy as np
import psutil
import pytest
from image_folders import write_set
from made_weights import made_weights

from src.__main__ import main
from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.run import train_and_test
from src.config import preset
from src.results import grid
from src.results.cluster import connect, run_all
from src.results.grid import Cell, run_grid
from src.xception.weight_files import write_safetensors

ROOT = Path(__file__).parents[2]
EPOCHS = 4
TIMES = ("created", "seconds", "speed", "peak_memory_mb")


@pytest.fixture
def scheduler():
    """A Dask scheduler in this process, with no worker yet."""
    options = dict(n_workers=0, processes=False, protocol="tcp://", dashboard_address=None)
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@dataclass(frozen=True)
class Job:
    name: str
    after: str = ""


def note(job: Job, file: Path) -> None:
    if job.name == "wrong":
        raise InputError("It went wrong.")
    if job.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.name == "first":
        time.sleep(0.5)  # whoever does not wait is done before
    with file.open("a") as out:
        out.write(f"{job.name}\n")


def test_a_job_waits_for_the_one_it_builds_on_and_errors_come_back(scheduler, tmp_path):
    scheduler.scale(2)
    jobs = [Job("first", "elsewhere"), Job("last", "first"), Job("between")]
    run, after = functools.partial(note, file=tmp_path / "ran"), lambda job: job.after
    with connect(scheduler.scheduler_address, None) as client:
        done = [job.name for job in run_all(run, jobs, client, after)]
        ran = (tmp_path / "ran").read_text().split()
        assert sorted(done) == sorted(ran) == ["between", "first", "last"]
        assert ran.index("first") < ran.index("last")
        with pytest.raises(InputError, match=r"^It went wrong\.$"):
            list(run_all(run, [Job("wrong")], client))


def test_a_job_that_kills_its_workers_is_named(tmp_path):
    alone = {"distributed.scheduler.allowed-failures": 0}  # one loss is enough
    options = dict(n_workers=1, threads_per_worker=1, dashboard_address=None)
    run = functools.partial(note, file=tmp_path / "ran")
    with (
        dask.config.set(alone),
        distributed.LocalCluster(**options) as cluster,
        connect(cluster.scheduler_address, None) as client,
        pytest.raises(InputError, match=r"^deadly was given up: its worker was lost"),
    ):
        list(run_all(run, [Job("deadly")], client))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--nworkers", "0"], "must be at least 1"),
        (["--scheduler", "nonsense://1"], "No Dask scheduler answers at nonsense://1"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(options, message, capsys):
    assert main(["reproduce", *options]) == 2
    assert message in capsys.readouterr().err


@contextlib.contextmanager
def dask_workers(address: str, folder: Path, count: int) -> Iterator[list[subprocess.Popen]]:
    """Start workers as the README says, each with a log in `folder`; without what restarts them."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    command += ["--no-nanny", "--no-dashboard", "--local-directory", folder / "dask"]
    workers = []
    for number in range(count):
        with (folder / f"{number}.log").open("w") as log:
            workers.append(subprocess.Popen(command, cwd=ROOT, stderr=log))
    yield workers
    for worker in workers:
        worker.terminate()
        worker.wait()


def command_of(process: psutil.Process) -> str:
    """Return a process's command line; "" when it has ended meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def kill_in_the_middle_of_a_cell(workers: list[subprocess.Popen], out: Path) -> str:
    """Kill the worker whose cell has the first checkpoint of all; return the cell's name."""
    while not (checkpoints := list(out.glob("*/last.safetensors"))):
        time.sleep(0.02)
    cell = checkpoints[0].parent.name
    for worker in workers:
        children = psutil.Process(worker.pid).children(recursive=True)
        if any(f"/{cell}" in command_of(child) for child in children):
            worker.kill()
            return cell
    raise AssertionError(f"nobody trains {cell}")


def recorded(results: Path, cell: Cell) -> tuple[dict, dict]:
    """Return a cell's record without times, and its predictions."""
    record = read_json(results / "grid" / f"{cell.name}.json")
    record = {name: value for name, value in record.items() if name not in TIMES}
    del record["history"]["epoch_seconds"]
    with np.load(results / "grid" / f"{cell.name}.npz") as predictions:
        return record, dict(predictions)


@pytest.mark.slow
def test_a_killed_worker_loses_no_cell(scheduler, tmp_path, monkeypatch):
    write_safetensors(tmp_path / "weights.safetensors", made_weights())
    where = write_set(tmp_path / "data"), str(tmp_path / "weights.safetensors")
    small = preset("smoke", head_epochs=EPOCHS, finetune_epochs=0, max_images_per_epoch=8)
    fields = small.to_json()
    del fields["split"], fields["fold"], fields["init"]
    cells = [Cell("tiny", "pt", fold=fold, fields=fields) for fold in range(2)]
    runs, results = tmp_path / "runs", tmp_path / "results"
    with (
        dask_workers(scheduler.scheduler_address, tmp_path, 2) as workers,
        connect(scheduler.scheduler_address, None) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        client.wait_for_workers(2, timeout=120)
        killed = thread.submit(kill_in_the_middle_of_a_cell, workers, runs)
        ran = [cell.name for cell, _ in run_grid(cells, runs, *where, results, client)]
        assert not list(run_grid(cells, runs, *where, results, client))  # all are there
    assert sorted(ran) == [cell.name for cell in cells]
    assert [worker.returncode for worker in workers].count(-9) == 1
    # Each training says the framework's name, then its epochs: two begin with the first epoch,
    # and the one that was killed goes on with a later one.
    logs = "".join(log.read_text() for log in tmp_path.glob("*.log"))
    begun = [re.search(r"epoch (\d)/", text).group(1) for text in logs.split("\nPyTorch\n")[1:]]
    assert len(begun) == 3 and sorted(begun)[:2] == ["1"] * 2 and max(begun) > "1", killed.result()

    def here(framework, folder, config, data, perturbed, thresholds):
        how = dict(folder=folder, perturbed=perturbed, thresholds=thresholds, workers=0)
        train_and_test(framework, config, data, None, **how)

    monkeypatch.setattr(grid, "train_once", here)
    one = tmp_path / "one"
    assert len(list(run_grid(cells, one / "runs", *where, one))) == 2
    for cell in cells:
        (record, predictions), (expected, same) = recorded(results, cell), recorded(one, cell)
        assert record == expected
        assert predictions.keys() == same.keys()
        for name, array in predictions.items():
            np.testing.assert_array_equal(array, same[name], err_msg=name)
