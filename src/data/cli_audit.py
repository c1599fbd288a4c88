"""`python -m src data {audit,provenance,split}`: parse, call, print."""

import argparse
from pathlib import Path

from src.config import SPLITS, preset
from src.data.audit import audit
from src.data.audit_report import audit_text, write_page
from src.data.catalog import read_catalog
from src.data.dataset import find_data
from src.data.frozen import write_frozen
from src.data.grouping import group_catalog, regroup
from src.data.provenance import (
    SHIPPED,
    confirmed,
    fingerprints,
    read_table,
    recover,
    write_table,
)
from src.data.provenance_copies import check_copies
from src.data.provenance_report import copies_text, describe_origins, origins_text
from src.data.sources import find_figshare
from src.data.split import split_catalog
from src.data.split_clean import freeze
from src.data.split_report import describe_split, split_text
from src.data.thumbnails import catalog_thumbnails
from src.errors import InputError
from src.files import write_json

FROZEN = ("clean", "patient")  # what can be frozen to a file
DATA_HELP = "default: BRAIN_TUMOR_DATA, else dataset/, else the built-in phantom set"


def add_audit_commands(actions) -> None:
    """Add the actions to the parser of `python -m src data`."""
    provenance = _action(
        actions, "provenance", _provenance, "which figshare slice and patient each image is"
    )
    provenance.add_argument("--table", type=Path, metavar="FILE", help="write a CSV, as it ships")

    provenance.add_argument(
        "--copies",
        type=Path,
        metavar="FILE",
        help="also match re-encoded and resized copies, made in memory, and write as JSON how many "
        "rows of the shipped table come out alike; needs figshare",
    )

    audit_ = _action(actions, "audit", _audit, "copies, conflicts, leaks, shortcuts")
    audit_.add_argument("--html", type=Path, metavar="FILE", help="write a page with the pairs")
    split = _action(actions, "split", _split, "which part and fold each image is in")
    split.add_argument(
        "--kind", default="clean", metavar="KIND", help=f"{', '.join(SPLITS)}, or a frozen .csv"
    )
    split.add_argument(
        "--fold", type=int, default=-1, metavar="K", help="0 to 4 tests; -1: 80/10/10"
    )
    split.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    split.add_argument("--write", type=Path, metavar="FILE", help="freeze it to a CSV, as it ships")


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
    if options.copies and not slices:
        raise InputError("--copies matches copies with figshare's slices: give --figshare DIR.")
    origins = recover(catalog, thumbnails, slices) if slices else by_table
    about = describe_origins(catalog, origins, slices and len(slices), len(by_table))
    if options.table:
        write_table(options.table, dict(zip(catalog.paths, prints)), origins)
    if options.json:
        write_json(options.json, about)
    print(origins_text(about))
    if options.copies:
        counts = check_copies(catalog, slices)
        write_json(options.copies, {"source": about["source"], "variants": counts})
        print(copies_text(counts))


def _audit(options: argparse.Namespace) -> None:
    grouping = group_catalog(read_catalog(find_data(options.data)))
    slices = find_figshare(options.figshare)
    if slices:
        origins = recover(grouping.catalog, grouping.thumbnails, slices)
        grouping = regroup(grouping, origins)
    splits = {}
    for kind in ("official", "clean"):
        config = preset("quick", split=kind)
        splits[kind] = split_catalog(grouping.catalog, config, grouping.thumbnails.whole).parts
    about = audit(grouping, splits)
    if options.json:
        write_json(options.json, about)
    print(audit_text(about))
    if options.html:
        write_page(options.html, about, grouping)
        print(f"Contact sheets: {options.html}")


def _split(options: argparse.Namespace) -> None:
    config = preset("quick", split=options.kind, fold=options.fold, seed=options.seed)
    if options.write and options.kind not in FROZEN:
        raise InputError(f"--write freezes --kind {' or '.join(FROZEN)}. Received: {options.kind}.")
    slices = find_figshare(options.figshare)
    catalog = read_catalog(find_data(options.data))
    if options.write:
        grouping = group_catalog(catalog)
        if slices:
            origins = recover(grouping.catalog, grouping.thumbnails, slices)
            grouping = regroup(grouping, origins)
        write_frozen(options.write, freeze(options.kind, grouping, options.seed))
    about = describe_split(catalog, config)
    if options.json:
        write_json(options.json, about)
    print(split_text(about))
