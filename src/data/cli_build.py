"""`python -m src data build`: parse, call, print."""

import argparse
from pathlib import Path

from src.data.build import ORDER, merge_sources
from src.data.build_write import check_out, merged_text, write_merged
from src.errors import InputError

_HELP = {
    "figshare": "figshare's slices: .mat files, or images with slices.csv",
    "sartaj": "SARTAJ: glioma_tumor, meningioma_tumor, no_tumor, pituitary_tumor",
    "br35h": "Br35H: yes and no, of which no is used",
    "merge": "the Kaggle merge: Training and Testing",
}


def add_build_command(actions) -> None:
    """Add the action to the parser of `python -m src data`."""
    parser = actions.add_parser(
        "build", help="merge the sources you have into one folder, one copy of a slice"
    )
    for source in ORDER:
        parser.add_argument(f"--{source}", type=Path, metavar="DIR", help=_HELP[source])
    parser.add_argument("--out", type=Path, metavar="DIR", required=True)
    parser.set_defaults(func=_build)


def _build(options: argparse.Namespace) -> None:
    folders = {name: getattr(options, name) for name in ORDER if getattr(options, name)}
    if not folders:
        given = ", ".join(f"--{name} DIR" for name in ORDER)
        raise InputError(f"data build needs a source: give one or more of {given}.")
    out = check_out(options.out)
    about = write_merged(out, merge_sources(folders))
    print(f"{merged_text(about)}\nThe images are in {out}: give it with --data.")
