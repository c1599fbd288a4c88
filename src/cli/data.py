"""`data`: the actions that count, fetch, draw, merge, trace, audit and split images."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from src.cli.options import add_paths, show
from src.common.errors import InputError
from src.common.files import write_csv
from src.config import SPLITS, preset
from src.data.audit.findings import audit
from src.data.audit.leaks import COLUMNS as LEAK_COLUMNS
from src.data.audit.leaks import find_leaks
from src.data.audit.report import audit_text, write_page
from src.data.catalog import read_catalog
from src.data.dataset import PHANTOM_NOTE, Dataset, find_data, open_dataset
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.folders import DATASET_FOLDER
from src.data.patients.recover import (
    image_fingerprints,
    recover,
    shipped_origins,
    write_table,
)
from src.data.patients.report import describe_origins, origins_text
from src.data.phantom.write import COUNT, SEED, SIZE, SLICES, is_phantom, write_phantom
from src.data.sources.build import ORDER, build, build_text
from src.data.sources.download import PAGE, download_figshare, download_kaggle
from src.data.sources.readers import find_figshare, read_source
from src.data.splits.folds import FOLDS
from src.data.splits.frozen import freeze, write_frozen
from src.data.splits.groups import Grouping, group_catalog
from src.data.splits.split import PARTS, describe_split, split_catalog
from src.data.splits.synthetic import scans_of

FROZEN = ("clean", "patient")  # the kinds of split that can be frozen to a file
_SOURCES = {
    "figshare": "figshare's slices: .mat files, or images with slices.csv",
    "sartaj": "SARTAJ: glioma_tumor, meningioma_tumor, no_tumor, pituitary_tumor",
    "br35h": "Br35H: yes and no, of which no is used",
    "merge": "the Kaggle merge: Training and Testing",
}


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `data`."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    action = _action(actions, _summary, "count images and parts, name unusable files")
    add_paths(action, "--data", "--json")

    action = _action(actions, _download, f"fetch the Kaggle dataset ({PAGE}) or figshare's")
    action.add_argument("what", nargs="?", choices=("kaggle", "figshare"), default="kaggle")
    action.add_argument("--out", type=Path, metavar="DIR", default=DATASET_FOLDER)

    action = _action(actions, _phantom, f"draw synthetic heads, {SLICES} slices per patient")
    action.add_argument("--out", type=Path, metavar="DIR", required=True)
    action.add_argument("--count", type=int, metavar="N", default=COUNT, help=f"default {COUNT}")
    action.add_argument("--size", type=int, metavar="PX", default=SIZE, help=f"default {SIZE}")
    action.add_argument("--seed", type=int, metavar="K", default=SEED, help=f"default {SEED}")

    action = _action(actions, _build, "merge the sources you have, one copy of each slice")
    for source in ORDER:
        action.add_argument(f"--{source}", type=Path, metavar="DIR", help=_SOURCES[source])
    action.add_argument("--out", type=Path, metavar="DIR", required=True)

    action = _action(actions, _provenance, "find each image's figshare slice and patient")
    action.add_argument("--table", type=Path, metavar="FILE", help="write the CSV that ships")
    _add_sources(action)

    action = _action(actions, _audit, "find copies, conflicts, leaks and shortcuts")
    action.add_argument("--html", type=Path, metavar="FILE", help="write a page with the pairs")
    about = "write which images of Testing are in Training too, as CSV"
    action.add_argument("--leaks", type=Path, metavar="FILE", help=about)
    _add_sources(action)

    action = _action(actions, _split, "show which part and fold each image is in")
    kinds = f"{', '.join(SPLITS)}, or a frozen .csv"
    action.add_argument("--kind", default="clean", metavar="KIND", help=kinds)
    fold = "the fold that tests, 0 to 4; 5: the selection part; -1 takes the split's own parts"
    action.add_argument("--fold", type=int, default=-1, metavar="K", help=fold)
    action.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    about = "freeze a clean or patient split for --split FILE.csv, and show that"
    action.add_argument("--write", type=Path, metavar="FILE.csv", help=about)
    _add_sources(action)


def _action(actions, function, about: str) -> argparse.ArgumentParser:
    name, description = function.__name__.strip("_"), f"{about[0].upper()}{about[1:]}."
    parser = actions.add_parser(name, help=about, description=description)
    parser.set_defaults(func=function)
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    default = "FIGSHARE_DATA; without either, the shipped table of recovered patients"
    about = f"{_SOURCES['figshare']} (default: {default})"
    parser.add_argument("--figshare", type=Path, metavar="DIR", help=about)
    add_paths(parser, "--data", "--json")


def _summary(options: argparse.Namespace) -> None:
    dataset = open_dataset(preset("quick"), options.data)
    show(options, summary_text(dataset), dataset.describe())


def summary_text(dataset: Dataset) -> str:
    """Return the counts per class and part, and the files that are not used.

    `open_dataset` has said what is special about the split already.
    """
    about = dataset.describe()
    lines = [f"{about['kind']} dataset {about['name']} in {dataset.root}"]
    lines += [about["source"]["variant"], ""] if about["kind"] == "real" else [""]
    lines += _count_lines(about["counts"])
    parts = ", ".join(f"{part} {about['parts'][part]:,}" for part in PARTS)
    lines += ["", f"split {about['split']}: {parts} images"]
    if skipped := about["skipped"]:
        lines.append(f"not used: {len(skipped)} files")
        lines += [f"  {path}: {reason}" for path, reason in skipped]
    return "\n".join(lines)


def _count_lines(counts: dict[str, dict[str, int]]) -> list[str]:
    """Return a table of part -> class -> number of images as lines."""
    names = [*next(iter(counts.values())), "all"]
    widths = [max(12, len(name) + 2) for name in names]
    lines = [f"{'':10}" + "".join(f"{name:>{width}}" for name, width in zip(names, widths))]
    for part, row in counts.items():
        cells = zip((*row.values(), sum(row.values())), widths)
        lines.append(f"{part:10}" + "".join(f"{number:{width},}" for number, width in cells))
    return lines


def _download(options: argparse.Namespace) -> None:
    if options.what == "figshare":
        folder = download_figshare(options.out)
        slices = read_source(folder)
        patients = len({image.patient for image in slices})
        print(f"{len(slices):,} slices of {patients:,} patients are in {folder}.")
        print("Give that folder with --figshare to data provenance, audit, split or build.")
        return
    folder = download_kaggle(options.out)
    print(f"The images are in {folder}.")
    print(summary_text(open_dataset(preset("quick"), folder)))


def _phantom(options: argparse.Namespace) -> None:
    folder = write_phantom(options.out, options.count, options.size, options.seed)
    print(f"Drew {options.count} phantom slices into {folder}.")


def _build(options: argparse.Namespace) -> None:
    folders = {name: getattr(options, name) for name in ORDER if getattr(options, name)}
    if not folders:
        given = ", ".join(f"--{name} DIR" for name in ORDER)
        raise InputError(f"data build needs a source: give one or more of {given}.")
    about = build(folders, options.out)
    print(f"{build_text(about)}\nThe images are in {options.out}: give it with --data.")


def _provenance(options: argparse.Namespace) -> None:
    catalog, thumbnails = catalog_thumbnails(read_catalog(find_data(options.data)))
    slices = find_figshare(options.figshare)
    by_table = shipped_origins(catalog.paths, image_fingerprints(thumbnails.whole))
    origins = recover(catalog, thumbnails, slices) if slices else by_table
    about = describe_origins(catalog, origins, slices and len(slices), len(by_table))
    if options.table:
        write_table(options.table, origins)
    _show(options, origins_text(about), about)


def _audit(options: argparse.Namespace) -> None:
    grouping = _grouping(options)
    kinds = {kind: preset("quick", split=kind) for kind in ("official", "clean")}
    splits = {kind: split_catalog(grouping.catalog, kinds[kind]).parts for kind in kinds}
    about = audit(grouping, splits)
    _show(options, audit_text(about), about)
    if options.html:
        write_page(options.html, about, grouping)
        print(f"Contact sheets: {options.html}")
    if options.leaks:
        write_csv(options.leaks, LEAK_COLUMNS, find_leaks(grouping))


def _split(options: argparse.Namespace) -> None:
    if options.write and options.kind not in FROZEN:
        kinds = " or ".join(FROZEN)
        raise InputError(f"--write freezes --kind {kinds}. Received: {options.kind}.")
    if options.write and not str(options.write).endswith(".csv"):
        raise InputError(
            f"--write must name a .csv file, which --split can read. Received: {options.write}."
        )
    split = str(options.write or options.kind)  # what is written is shown
    config = preset("quick", split=split, fold=options.fold, seed=options.seed)
    if options.write:
        grouping = _grouping(options, scans_alone=True)
        write_frozen(options.write, freeze(options.kind, grouping, options.seed))
    about = describe_split(read_catalog(find_data(options.data)), config)
    _show(options, _split_text(about), about)


def _show(options: argparse.Namespace, text: str, about: dict) -> None:
    """As `show`; says of the phantom set that it is one, on the screen and in the record."""
    if is_phantom(find_data(options.data)):
        text = f"{text}\n\n*** {PHANTOM_NOTE}"
        about = about | {"note": f"{PHANTOM_NOTE} {about.get('note', '')}".strip()}
    show(options, text, about)


def _split_text(about: dict) -> str:
    header, *rows = _count_lines(about["counts"])
    groups = ["groups", *about["groups_per_part"].values(), ""]
    lines = [f"split {about['kind']}" + (f", fold {about['fold']}" if about["fold"] >= 0 else "")]
    lines += [f"{line}{number:>12}" for line, number in zip((header, *rows), groups)]
    if about["folds"]:
        sizes = np.bincount(list(about["folds"].values()), minlength=FOLDS)
        lines.append(f"five folds of {', '.join(map(str, sizes))} images")
    return "\n".join(filter(None, (*lines, about["note"])))


def _grouping(options: argparse.Namespace, scans_alone: bool = False) -> Grouping:
    """Return the groups of images, by patient where figshare's slices are given."""
    catalog = read_catalog(find_data(options.data))
    grouping = group_catalog(scans_of(catalog) if scans_alone else catalog)
    slices = find_figshare(options.figshare)
    if not slices:
        return grouping
    origins = recover(grouping.catalog, grouping.thumbnails, slices)
    return dataclasses.replace(grouping, origins=origins)
