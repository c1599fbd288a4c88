"""`reproduce`: run the grid, and write every table and figure of the results; `rescore`."""

import argparse
import sys
from pathlib import Path

from src.cli.options import add_paths, show
from src.common.files import read_json, write_json
from src.comparison.page import comparison_page
from src.pretrained.publish import model_page
from src.results import rescore as rescoring
from src.results.cluster import add_cluster_options, connect
from src.results.figures import write_figures
from src.results.grid import RESULTS, choose, declared_grid, list_cells, run_grid
from src.results.markdown import results_page, short_table, write_between_markers
from src.results.paper import write_paper
from src.results.per_image import write_per_image
from src.results.pool import read_grid
from src.results.statistics import measure
from src.xception.weight_files import PRETRAINED

README = Path(__file__).resolve().parents[2] / "README.md"
COMPARISON_PAGE = README.parent / "src" / "comparison" / "README.md"


def add_reproduce(parser: argparse.ArgumentParser) -> None:
    """Add the options of `reproduce`."""
    parser.add_argument("--list", action="store_true", help="show what is done and what is left")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="run cells whose name contains it"
    )
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    parser.add_argument("--init", metavar="FILE", help="weights file of the arms that use one")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), metavar="DIR")
    add_paths(parser, "--data")
    add_cluster_options(parser)
    parser.set_defaults(resumable=True)


def reproduce(options: argparse.Namespace) -> None:
    """Run the grid's missing cells; write tables and figures from the records."""
    cells = declared_grid()
    chosen = choose(cells, options.only)
    if options.list:
        print(list_cells(chosen if options.only else cells))
        return
    if not options.table_only:
        how = options.out, options.data, options.init
        with connect(options.scheduler, options.nworkers) as client:
            for cell, left in run_grid(chosen, *how, client=client):
                print(f"{cell.name} is done, {left} cells left", file=sys.stderr)
    print(write_results(RESULTS, README))
    write_paper(read_json(RESULTS / "table.json"), RESULTS)
    write_between_markers(COMPARISON_PAGE, comparison_page(RESULTS))
    write_between_markers(PRETRAINED / "README.md", model_page())


def write_results(results: Path, readme: Path) -> str:
    """Write what follows from the records: tables, figures, pages, and the README's table.

    Args:
        results: the folder of the records, with README.md, `baselines.json` and
            `first_build/recipes.json`.
        readme: the main README.
    Returns:
        the tables of the results page.
    Raises:
        InputError: a record is damaged or missing, or a README lacks its markers.
    """
    cells = declared_grid()
    measured = measure(cells, results)
    write_per_image(read_grid(cells, results), results / "predictions.csv")
    scores = read_json(results / "baselines.json")["scores"]
    recipes = read_json(results / "first_build" / "recipes.json")
    write_json(results / "table.json", measured)
    figures = [figure.name for figure in write_figures(measured, scores, results)]
    page = results_page(measured, scores, recipes, figures)
    write_between_markers(results / "README.md", page)
    write_between_markers(readme, short_table(measured, scores, recipes))
    return page


def add_rescore(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rescore`."""
    about = "a CSV with file names and labels or probabilities, or a run's predictions.npz"
    parser.add_argument("predictions", type=Path, metavar="FILE", help=about)
    add_paths(parser, "--json")


def rescore(options: argparse.Namespace) -> None:
    """Score predictions for the official test images by what Training holds of them."""
    found = rescoring.rescore(options.predictions)
    show(options, rescoring.rescore_text(found), found)
