"""`reproduce`: run the grid and rebuild its tables."""

import argparse
import sys
from pathlib import Path

from src.cli.options import add_data_option
from src.common.files import read_json
from src.results.figures import write_figures
from src.results.grid import declared_grid
from src.results.markdown import write_table
from src.results.run import RESULTS, choose, list_cells, run_grid
from src.results.statistics import measure


def add_reproduce(parser: argparse.ArgumentParser) -> None:
    """Add the options of `reproduce`."""
    parser.add_argument("--list", action="store_true", help="show what is done and what is left")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="cells whose name holds it"
    )
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    parser.add_argument("--init", metavar="FILE", help="weights file of the arms that reinit")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), metavar="DIR")
    add_data_option(parser)
    parser.set_defaults(func=reproduce, resumable=True)


README = Path(__file__).resolve().parents[2] / "README.md"


def reproduce(options: argparse.Namespace) -> None:
    """Run what is left of the README's grid; rebuild its table from the records found."""
    cells = declared_grid()
    chosen = choose(cells, options.only)
    if options.list:
        print(list_cells(chosen if options.only else cells))
        return
    if not options.table_only:
        for cell, left in run_grid(chosen, options.out, options.data, options.init):
            print(f"{cell.name} is done, {left} cells left", file=sys.stderr)
    measured = measure(cells, RESULTS)
    record = RESULTS / "baselines.json"
    scores = read_json(record)["scores"] if record.is_file() else None
    for figure in write_figures(measured, scores, RESULTS):
        print(f"Figure: {figure}", file=sys.stderr)
    print(write_table(measured, scores, README, RESULTS))
