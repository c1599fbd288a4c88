"""`python -m src data {audit,provenance,split,build}`: parse, call, print."""

import argparse
from pathlib import Path

from src.data.catalog import read_catalog
from src.data.dataset import find_data
from src.data.provenance import (
    SHIPPED,
    confirmed,
    fingerprints,
    read_table,
    recover,
    write_table,
)
from src.data.provenance_report import describe_origins, origins_text
from src.data.sources import find_figshare
from src.data.thumbnails import catalog_thumbnails
from src.files import write_json

DATA_HELP = "default: BRAIN_TUMOR_DATA, else dataset/, else the built-in phantom set"


def add_audit_commands(actions) -> None:
    """Add the actions to the parser of `python -m src data`."""
    provenance = _action(
        actions, "provenance", _provenance, "which figshare slice and patient each image is"
    )
    provenance.add_argument("--table", type=Path, metavar="FILE", help="write a CSV, as it ships")


def _action(actions, name: str, function, what: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what)
    parser.add_argument("--data", type=Path, metavar="DIR", help=DATA_HELP)
    parser.add_argument(
        "--figshare",
        type=Path,
        metavar="DIR",
        help="figshare's slices: .mat files, or images with slices.csv (default: FIGSHARE_DATA; "
        "without either, the table of recovered patients that ships in dataset/)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.set_defaults(func=function)
    return parser


def _provenance(options: argparse.Namespace) -> None:
    catalog, thumbnails = catalog_thumbnails(read_catalog(find_data(options.data)))
    slices = find_figshare(options.figshare)
    prints = fingerprints(thumbnails.whole)
    by_table = confirmed(catalog, prints, *read_table()) if SHIPPED.exists() else {}
    origins = recover(catalog, thumbnails, slices) if slices else by_table
    about = describe_origins(catalog, origins, slices and len(slices), len(by_table))
    if options.table:
        write_table(options.table, dict(zip(catalog.paths, prints)), origins)
    if options.json:
        write_json(options.json, about)
    print(origins_text(about))
