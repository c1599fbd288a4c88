"""`python -m src data {summary,download,phantom}`; `cli_build` and `cli_audit` add the rest."""

import argparse
import dataclasses
from pathlib import Path

from src.common.errors import InputError
from src.common.files import write_json
from src.config import CLASS_NAMES, SPLITS, preset
from src.data.audit.findings import audit
from src.data.audit.report import audit_text, write_page
from src.data.catalog import read_catalog
from src.data.dataset import DATASET_FOLDER, Dataset, find_data, open_dataset
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.patients.recover import (
    SHIPPED,
    confirmed,
    fingerprints,
    read_table,
    recover,
    write_table,
)
from src.data.patients.report import copies_text, describe_origins, origins_text
from src.data.phantom.write import COUNT, SEED, SIZE, SLICES, write_phantom
from src.data.phantom_inject import Injection
from src.data.provenance_copies import check_copies
from src.data.sources import find_figshare, read_source
from src.data.sources.build import ORDER, check_out, merge_sources, merged_text, write_merged
from src.data.sources.figshare_download import download_figshare
from src.data.sources.kaggle import PAGE, download
from src.data.splits.frozen import freeze, write_frozen
from src.data.splits.groups import group_catalog, regroup
from src.data.splits.report import describe_split, split_text
from src.data.splits.split import PARTS, split_catalog


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
