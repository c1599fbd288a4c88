"""`python -m src VERB`: find the verb, import its module alone, call it, print its errors."""

import argparse
import importlib
import io
import os
import signal
import sys
from pathlib import Path

from src.common.errors import InputError

# Verb -> the module that holds `add_VERB` and `VERB`, and what `--help` says of it. Nothing here is
# imported before it is asked for, so that help and typing mistakes are answered at once.
VERBS = {
    "compare": ("comparison", "run the experiment in both frameworks, side by side"),
    "train": ("experiment", "fine-tune one twin and save its model and record"),
    "evaluate": ("experiment", "score a saved model on the test part"),
    "predict": ("predict", "classify images with a saved model"),
    "app": ("app", "classify images on a page in the browser"),
    "export": ("export", "write a saved model for other programs, or as the shipped one"),
    "doctor": ("doctor", "look at what this machine has and lacks, and try both twins"),
    "data": ("data", "look at the images, get some, audit and split them"),
    "parity": ("comparison", "measure step by step whether both twins train alike"),
    "features": ("comparison", "measure how far the frameworks' features differ"),
    "bench": ("comparison", "measure how fast both frameworks are, and what exactness costs"),
    "baselines": ("comparison", "score what the twins must beat, on the same images"),
    "reproduce": ("results", "run the grid of published results and rebuild its tables"),
    "rescore": ("results", "score predictions for the official split by what Training holds"),
}


class _Parser(argparse.ArgumentParser):
    """A parser, also of a verb, that refuses unknown options itself and names its own help."""

    def parse_known_args(self, args=None, namespace=None):
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise InputError(
                f"unrecognized arguments: {' '.join(unknown)}. `{self.prog} --help` lists what "
                "can be given."
            )
        return options, unknown


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """Return the parser of all verbs; only `verb` has its options, and sets `func`."""
    parser = _Parser(
        prog="python -m src",
        description="Brain tumour classification with Xception, in TensorFlow and in PyTorch. "
        "Not a medical device: for research and teaching only.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, (module, about) in VERBS.items():
        options = verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if name == verb:
            functions = vars(importlib.import_module(f"src.cli.{module}"))
            options.set_defaults(func=functions.get(name))  # the actions of `data` set their own
            functions[f"add_{name}"](options)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 2 something given was wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = argparse.Namespace()
    if sys.stdout is None:  # closed by whoever started this
        sys.stdout = io.StringIO()
    if sys.stderr is None:  # else print(file=sys.stderr) writes to stdout
        sys.stderr = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        verb = next((one for one in arguments if not one.startswith("-")), None)
        build_parser(verb).parse_args(arguments, options)
        code = options.func(options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read what was printed has enough of it, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        return 128 + 13  # as the shell calls the end by SIGPIPE
    except OSError as error:  # of the machine: no space, no permission, a name that is too long
        print(f"error: {error}. Mend that, and run the same command again.", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "src":
            raise
        install = "python -m pip install -r requirements.txt"
        print(f"error: This needs {package}, which is not installed: {install}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = ""
        if getattr(options, "resumable", False) and options.out:
            kept = ("last.safetensors", "previous.safetensors", "record.json")
            saved = any(path.name in kept for path in Path(options.out).rglob("*"))
            hint = f" With --out {options.out} this command goes on from its last checkpoint."
            hint = hint if saved else " Nothing was saved yet."
        print(f"Stopped.{hint}", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # says so, and leaves nothing behind
    sys.exit(main())
