"""`python -m src VERB`: parse, call, print. Verbs: see `python -m src --help`."""

import argparse
import dataclasses
import signal
import sys
from pathlib import Path

from src import commands
from src.comparison.parity_options import HYPER, RECIPES
from src.config import PRESETS, ExperimentConfig
from src.data.cli import add_commands as add_data_commands
from src.differences import DROPPABLE_ROWS
from src.errors import InputError

_LISTS = ("redraw", "framework_defaults")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every verb; each sets `func`, which `main` calls."""
    parser = argparse.ArgumentParser(
        prog="python -m src",
        description="Brain tumour classification with Xception, in TensorFlow and in PyTorch. "
        "Not a medical device: for research and teaching only.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    add_data_commands(verbs)
    _add_train(verbs)
    _add_evaluate(verbs)
    _add_compare(verbs)
    _add_parity(verbs)
    _add_bench(verbs)
    _add_predict(verbs)
    _add_features(verbs)
    _add_baselines(verbs)
    _add_reproduce(verbs)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 2 something given was wrong."""
    options = build_parser().parse_args(arguments)
    try:
        return options.func(options) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last finished epoch.", file=sys.stderr)
        return 128 + signal.SIGINT


def _add_train(verbs) -> None:
    parser = verbs.add_parser("train", help="fine-tune one twin and save its model and record")
    parser.add_argument("--framework", required=True, choices=("tf", "pt"))
    parser.add_argument("--evaluate", action="store_true", help="score the test part as well")
    parser.add_argument("--perturbed", action="store_true", help="start one machine epsilon off")
    _add_run_options(parser)
    _add_config_options(parser)
    parser.set_defaults(func=commands.train)


def _add_evaluate(verbs) -> None:
    parser = verbs.add_parser("evaluate", help="score a run's saved model on the test part")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that `train --out` wrote")
    parser.add_argument("--part", choices=("test", "val", "train"), default="test")
    _add_data_option(parser)
    _add_workers_option(parser)
    parser.set_defaults(func=commands.evaluate)


def _add_compare(verbs) -> None:
    parser = verbs.add_parser("compare", help="the experiment in both frameworks, side by side")
    parser.add_argument(
        "--no-floor", action="store_true", help="skip the second PyTorch run that sets the floor"
    )
    _add_run_options(parser)
    _add_config_options(parser)
    parser.add_argument(
        "--attribute",
        action="store_true",
        help="what each framework default costs: from stock to exact, one ledger row at a time",
    )
    parser.add_argument("--seeds", type=int, default=3, help="with --attribute (default 3)")
    parser.set_defaults(func=commands.compare)


def _add_parity(verbs) -> None:
    parser = verbs.add_parser(
        "parity", help="do both twins take the same steps? measured by the rounding floor"
    )
    parser.add_argument("--dtype", choices=("float32", "float64", "bfloat16"), default="float32")
    parser.add_argument("--hyper", choices=HYPER, help="default: dyadic in float64, else everyday")
    parser.add_argument("--recipe", choices=RECIPES, default="plain", help="default: plain")
    parser.add_argument("--steps", type=int, default=20, help="over all epochs (default 20)")
    parser.add_argument("--fault", nargs="+", default=(), choices=DROPPABLE_ROWS, metavar="ROW")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also draws FILE as .png")
    _add_data_option(parser)
    _add_field_options(parser.add_argument_group("other fields of the experiment"))
    parser.set_defaults(func=commands.parity)


def _add_bench(verbs) -> None:
    parser = verbs.add_parser("bench", help="what exactness costs: its training step beside stock")
    parser.add_argument("--framework", choices=("tf", "pt"), default="pt", help="default: pt")
    parser.add_argument(
        "--prefix", action="store_true", help="epochs with and without the prefix cache instead"
    )
    parser.add_argument("--prefix-half", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=20, help="steps of each (default 20)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    _add_data_option(parser)
    _add_config_options(parser)
    parser.set_defaults(func=commands.bench)


def _add_predict(verbs) -> None:
    parser = verbs.add_parser("predict", help="classify images with a saved model")
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="images or folders")
    parser.add_argument("--model", type=Path, required=True, metavar="RUN")
    parser.add_argument("--framework", choices=("tf", "pt"), help="default: the one that saved it")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(func=commands.predict)


def _add_features(verbs) -> None:
    parser = verbs.add_parser(
        "features", help="how far the frameworks' features differ on the same weights and images"
    )
    parser.add_argument("--count", type=int, default=8, help="images to compare on")
    parser.add_argument("--sizes", type=int, nargs="+", default=[71, 96, 150, 224, 299])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there as well")
    parser.add_argument("--framework", choices=("tf", "pt"), help=argparse.SUPPRESS)
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    _add_data_option(parser)
    _add_config_options(parser)
    parser.set_defaults(func=commands.features)


def _add_baselines(verbs) -> None:
    parser = verbs.add_parser(
        "baselines", help="what a score must beat: majority to linear probe, on the same parts"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="record; predictions: FILE.csv")
    _add_data_option(parser)
    _add_config_options(parser)
    parser.set_defaults(func=commands.baselines)


def _add_reproduce(verbs) -> None:
    parser = verbs.add_parser("reproduce", help="run the README's grid and rebuild its table")
    parser.add_argument("--list", action="store_true", help="show what is done and what is left")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="cells whose name holds it"
    )
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    parser.add_argument("--init", metavar="FILE", help="weights file of the arms that redraw")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), metavar="DIR")
    _add_data_option(parser)
    parser.set_defaults(func=commands.reproduce)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    _add_data_option(parser)
    _add_workers_option(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/<time>")


def _add_data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="default: BRAIN_TUMOR_DATA, else dataset/, else the built-in phantom set",
    )


def _add_workers_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=0, help="that prepare batches (default 0)")


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the experiment")
    group.add_argument("--preset", choices=PRESETS, default="quick", help="default: quick")
    group.add_argument("--config", type=Path, metavar="FILE", help="a config.json, for --preset")
    _add_field_options(group)


def _add_field_options(group) -> None:
    for spec in dataclasses.fields(ExperimentConfig):
        unit, why = spec.metadata["unit"], spec.metadata["why"]
        if spec.type is bool:
            kind = {"action": argparse.BooleanOptionalAction}
        elif spec.name in _LISTS:
            kind = {"type": str, "nargs": "*"}
        else:
            kind = {"type": spec.type}
        group.add_argument(
            f"--{spec.name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=(f"{unit}: {why}" if unit else why).replace("%", "%%"),
            **kind,
        )


if __name__ == "__main__":
    sys.exit(main())
