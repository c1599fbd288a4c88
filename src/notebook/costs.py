"""What each notebook costs: measured when it is executed, kept in a record, told in its first cell.

python -m src.notebook run
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import nbformat

from src.common import hardware
from src.common.files import atomic_write, read_json, write_json
from src.notebook.meter import Meter
from src.notebook.setup import ROOT

RECORD = ROOT / "notebooks" / "results" / "notebooks.json"
KINDS = {"smoke": "`SMOKE=1`, phantom", "real": "real images, preset `quick`"}
UNKNOWN = "not measured yet"
BUSY = 0.1  # cores at work for others, from which on a reader should know
_TABLE = re.compile(r"^\| *\|.*\n(?:\|.*\n?)+", re.M)  # the table whose first corner is empty


def read_record(path: Path = RECORD) -> dict:
    """Return the record: kind -> notebook -> what it cost; empty where nothing was measured."""
    return read_json(path) if path.is_file() else {kind: {} for kind in KINDS}


def describe(meter: Meter, runs_made: int) -> dict:
    """Return what a notebook cost, as the record keeps it.

    Args:
        meter: that watched it.
        runs_made: how many networks it trained; the others it found trained.
    """
    machine = hardware.describe(None)
    del machine["gpu"]  # nobody asked the kernel whether it used one
    return {
        "minutes": round(meter.seconds / 60, 2),
        "memory_mb": round(meter.memory_mb),
        "runs_made": runs_made,
        "other_cores": round(meter.other_cores, 2),
        "hardware": machine,
        "commit": hardware.commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def note(name: str, kind: str, cost: dict, path: Path = RECORD) -> dict:
    """Write what a notebook cost, from `describe`, into the record; return the record."""
    record = read_record(path)
    record[kind] = dict(sorted((record[kind] | {name: cost}).items()))
    write_json(path, record)
    return record


def table(name: str, record: dict) -> str:
    """Return the Markdown table of a notebook's first cell, as the record has it."""
    found = [record[kind].get(name) for kind in KINDS]
    rows = {
        "": list(KINDS.values()),
        "---": ["---"] * len(KINDS),
        "**Minutes**, after the notebooks before it": [_minutes(cost) for cost in found],
        "**Memory**": [
            f"{cost['memory_mb'] / 1024:.1f} GiB" if cost else UNKNOWN for cost in found
        ],
        "**Measured on**": [_machine(cost) for cost in found],
    }
    return "\n".join(f"| {' | '.join([head, *cells])} |" for head, cells in rows.items())


def write_table(name: str, record: dict, folder: Path) -> None:
    """Write the table into the first cell of a notebook in `folder`; nothing else changes."""
    path = folder / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = with_table(notebook.cells[0].source, table(name, record))
    with atomic_write(path) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def with_table(text: str, new: str) -> str:
    """Return a first cell with another table of costs."""
    return _TABLE.sub(lambda _: new + "\n", text, count=1)


def table_of(text: str) -> str:
    """Return the table of costs in a first cell; "" where there is none."""
    found = _TABLE.search(text)
    return found[0].strip() if found else ""


def _minutes(cost: dict | None) -> str:
    if not cost:
        return UNKNOWN
    count = cost["runs_made"]
    made = f", {count} network{'s' * (count > 1)} trained" if count else ""
    return f"{cost['minutes']:.1f}{made}"


def _machine(cost: dict | None) -> str:
    if not cost:
        return UNKNOWN
    machine = cost["hardware"]
    cores = f"{machine['cores']} CPU core{'s' * (machine['cores'] > 1)}"
    busy = ", busy with other work too" if cost["other_cores"] >= BUSY else ""
    return f"{cores} ({machine['cpu']}){busy}"
