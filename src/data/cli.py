"""`python -m src data {summary,download,phantom}`; `cli_build` and `cli_audit` add the rest."""

import argparse
import dataclasses
from pathlib import Path

from src.config import CLASS_NAMES, preset
from src.data.cli_audit import add_audit_commands
from src.data.cli_build import add_build_command
from src.data.dataset import DATASET_FOLDER, Dataset, open_dataset
from src.data.download import PAGE, download
from src.data.download_figshare import download_figshare
from src.data.phantom import COUNT, SEED, SIZE, SLICES, write_phantom
from src.data.phantom_inject import Injection
from src.data.sources import read_source
from src.data.split import PARTS
from src.files import write_json


def add_commands(subparsers) -> None:
    """Add the verb `data` and its actions to the parser of `python -m src`."""
    parser = subparsers.add_parser("data", help="look at the images, or get some")
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    summary = actions.add_parser("summary", help="what is there: counts, parts, unusable files")
    summary.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="default: BRAIN_TUMOR_DATA, else dataset/, else the built-in phantom set",
    )
    summary.add_argument("--json", type=Path, metavar="FILE", help="write it there as well")
    summary.set_defaults(func=_summary)

    fetch = actions.add_parser("download", help=f"fetch the Kaggle dataset ({PAGE}) or figshare's")
    fetch.add_argument("what", nargs="?", choices=("kaggle", "figshare"), default="kaggle")
    fetch.add_argument("--out", type=Path, metavar="DIR", default=DATASET_FOLDER)
    fetch.set_defaults(func=_download)

    phantom = actions.add_parser(
        "phantom", help=f"draw synthetic head slices, {SLICES} of each made-up patient"
    )
    phantom.add_argument("--out", type=Path, metavar="DIR", required=True)
    phantom.add_argument("--count", type=int, metavar="N", default=COUNT, help=f"default {COUNT}")
    phantom.add_argument("--size", type=int, metavar="PX", default=SIZE, help=f"default {SIZE}")
    phantom.add_argument("--seed", type=int, metavar="K", default=SEED, help=f"default {SEED}")
    faults = phantom.add_argument_group(
        "faults to put in, N of each (default 0); phantom.json says which became of what"
    )
    for fault in dataclasses.fields(Injection):
        what = fault.metadata["help"]
        faults.add_argument(f"--{fault.name}", type=int, metavar="N", default=0, help=what)
    phantom.set_defaults(func=_phantom)
    add_build_command(actions)
    add_audit_commands(actions)


def _summary(options: argparse.Namespace) -> None:
    dataset = open_dataset(preset("quick"), options.data)
    if options.json:
        write_json(options.json, dataset.describe())
    print(summary_text(dataset))


def _download(options: argparse.Namespace) -> None:
    if options.what == "figshare":
        folder = download_figshare(options.out)
        slices = read_source(folder)
        patients = len({image.patient for image in slices})
        print(f"{len(slices):,} slices of {patients:,} patients are in {folder}.")
        print("Give that folder with --figshare to data provenance, audit, split or build.")
        return
    folder = download(options.out)
    print(f"The images are in {folder}.")
    print(summary_text(open_dataset(preset("quick"), folder)))


def _phantom(options: argparse.Namespace) -> None:
    faults = Injection(*(getattr(options, one.name) for one in dataclasses.fields(Injection)))
    folder = write_phantom(options.out, options.count, options.size, options.seed, faults)
    added = f" and put {faults.total} faults in" if faults.total else ""
    print(f"Drew {options.count} phantom slices into {folder}{added}.")


def summary_text(dataset: Dataset) -> str:
    """Return what a person asks first: how many of what, cut how, and which files are not used.

    `open_dataset` has said what is special about the split already.
    """
    about = dataset.describe()
    lines = [f"{about['kind']} dataset {about['name']} in {dataset.root}", ""]
    lines.append(f"{'':10}" + "".join(f"{name:>12}" for name in (*CLASS_NAMES, "all")))
    for split, counts in about["counts"].items():
        numbers = (*counts.values(), sum(counts.values()))
        lines.append(f"{split:10}" + "".join(f"{number:12,}" for number in numbers))
    parts = ", ".join(f"{part} {about['parts'][part]:,}" for part in PARTS)
    lines += ["", f"split {about['split']}: {parts} images"]
    skipped = about["skipped"]
    if skipped:
        lines.append(f"not used: {len(skipped)} files")
        lines += [f"  {path}: {reason}" for path, reason in skipped]
    return "\n".join(lines)
