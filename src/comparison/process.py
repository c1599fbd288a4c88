"""The one way to start a twin in a process of its own.

TensorFlow and PyTorch do not share a process: imported in the wrong order they abort it, and each
takes all cores and all GPU memory. What a process shall do is a function of this package,
`work(framework, config, data_dir, output, **options)`. The caller gets what it writes to `output`,
a binary stream; whatever it prints goes to stderr.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from src.common.errors import InputError
from src.config import FRAMEWORKS, ExperimentConfig

ROOT = Path(__file__).resolve().parents[2]


def run_twin(*request, **options) -> bytes:
    """Do what `running_twin` does with these arguments, to the end; return the whole output."""
    with running_twin(*request, **options) as output:
        return output.read()


@contextlib.contextmanager
def running_twin(
    work: Callable[..., None],
    framework: str,
    config: ExperimentConfig,
    data_dir: Path | None = None,
    *,
    quiet: bool = False,
    **options,
) -> Iterator[BinaryIO]:
    """Start `work` in a process of its own and give its output, to be read while it runs.

    The process ends with the block: it is waited for, or stopped if the block raises.

    Args:
        work: a function in a module of `src`; see above. It gets `framework`, `config`, `data_dir`
            and `options`, which are JSON values.
        quiet: show what the process prints only if it fails.
    Raises:
        InputError: the process failed; its own message was printed before.
    """
    request = {
        "work": f"{work.__module__}:{work.__name__}",
        "framework": framework,
        "config": config.to_json(),
        "data_dir": None if data_dir is None else str(data_dir),
        "options": options,
    }
    # -P and PYTHONPATH: this checkout's `src`, whatever the current folder holds.
    command = [sys.executable, "-P", "-m", "src.comparison.process", json.dumps(request)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log if quiet else None,
            env=os.environ | {"PYTHONPATH": path},
        )
        try:
            yield process.stdout
            process.stdout.close()  # whoever still writes fails, instead of waiting for a reader
            code = process.wait()
        finally:
            process.stdout.close()
            if process.poll() is None:  # interrupted, it saves, and removes its temporary files
                _interrupt(process)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
            process.kill()  # does nothing to one that has ended
            process.wait()
            process.stdin.close()
        if code:
            log.seek(0)
            print(log.read(), file=sys.stderr, end="")
            raise InputError(
                f"The {FRAMEWORKS[framework]} process stopped with exit code {code}; its message "
                "stands above."
            )


def _interrupt(process: subprocess.Popen) -> None:
    if os.name == "nt":  # there SIGINT cannot be sent; checkpoints are whole at any moment
        process.terminate()
    else:
        process.send_signal(signal.SIGINT)


def _end_with_the_parent() -> None:
    """End this process when its parent is gone, killed perhaps: another may train in its folder."""
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns when the pipe breaks
    os._exit(1)


def main(request: str) -> int:
    """Do what the parent process asks for in `request`, as JSON; return the exit code."""
    asked = json.loads(request)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        config = ExperimentConfig.from_json(asked["config"])
        data_dir = asked["data_dir"] and Path(asked["data_dir"])
        module, function = asked["work"].split(":")
        work = getattr(importlib.import_module(module), function)
        with output:
            work(asked["framework"], config, data_dir, output, **asked["options"])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # the parent says that it was stopped
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
