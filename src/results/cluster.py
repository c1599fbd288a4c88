"""Runs of the grid and of the search as tasks of Dask, which hands them to its workers.

Source: https://distributed.dask.org. Without a cluster, one run follows the other in this process.
"""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from src.common.errors import InputError

if TYPE_CHECKING:
    from distributed import Client


class _Named(Protocol):
    name: str


Item = TypeVar("Item", bound=_Named)


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add `--scheduler` and `--nworkers`."""
    group = parser.add_mutually_exclusive_group()
    about = "run on the workers of this Dask scheduler, such as tcp://10.0.0.1:8786"
    group.add_argument("--scheduler", metavar="ADDRESS", help=about)
    about = "run on so many Dask workers of this machine; default: in this process"
    group.add_argument("--nworkers", type=int, metavar="N", help=about)


@contextlib.contextmanager
def connect(scheduler: str | None, nworkers: int | None) -> Iterator["Client | None"]:
    """Give a client of the cluster that the two options ask for, or None where neither does.

    Raises:
        InputError: Dask is not installed, the scheduler does not answer, or `nworkers` is below 1.
    """
    if scheduler is None and nworkers is None:
        yield None
        return
    if nworkers is not None and nworkers < 1:
        raise InputError(f"--nworkers must be at least 1. Received: {nworkers}.")
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--scheduler and --nworkers need Dask: python -m pip install -r "
            "src/serving/requirements/cluster.txt"
        ) from None
    # One thread: a run is a process that takes all cores of its worker.
    local = {} if scheduler else {"n_workers": nworkers, "threads_per_worker": 1}
    try:
        client = Client(scheduler, **local)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {scheduler}: {error}. `dask scheduler` starts one and "
            "shows its address."
        ) from error
    with client:
        yield client


def run_all(
    run: Callable[[Item], None],
    items: Sequence[Item],
    client: "Client | None" = None,
    after: Callable[[Item], str] = lambda _: "",
) -> Iterator[Item]:
    """Call `run` with each item; yield the item when it is done.

    Without a client in order. With one, the first are begun first, and those of a lost worker
    are run again by another, so `run` must go on with what it finds half done.

    Args:
        run: does its work on files that all workers share.
        items: what to run.
        client: from `connect`.
        after: gives the name of the item that must be done before; one that is not among `items`
            is done already.
    Raises:
        InputError: an item lost its worker again and again; or what `run` raises.
    """
    if client is None:
        for item in items:
            run(item)
            yield item
        return
    from distributed import KilledWorker, as_completed

    tasks = {}
    for number, item in enumerate(items):
        before = tasks.get(after(item))
        tasks[item.name] = client.submit(_run, run, item, before, priority=-number)
    by_task = {task: item for task, item in zip(tasks.values(), items)}
    for task in as_completed(by_task):
        try:
            task.result()  # raises what `run` raised
        except KilledWorker as error:
            raise InputError(
                f"{by_task[task].name} was given up: its worker was lost each time. The worker's "
                "log says why; often it lacks memory. What is finished is kept, and the same "
                "command goes on."
            ) from error
        yield by_task[task]


def _run(run: Callable[[Item], None], item: Item, _before: None) -> None:
    run(item)
