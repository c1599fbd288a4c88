"""The table of speeds: its rows, its arithmetic, and what a machine lacks."""

import ast
import dataclasses
import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from image_folders import write_set

from src.__main__ import main
from src.common import hardware
from src.common.errors import InputError
from src.comparison.bench import measure
from src.comparison.bench.cells import (
    BLOCK13,
    EXPERIMENT,
    FORWARD,
    INPUT,
    PLAIN,
    TRAIN,
    TWIN,
    Cell,
    cell_config,
    declared_cells,
)
from src.comparison.bench.measure import least_seconds, measure_speeds
from src.comparison.bench.profile import KINDS, POINTWISE, REORDER, shares, write_profile
from src.comparison.bench.report import MAIN, draw_speeds, speed_table, write_speed_figure
from src.comparison.bench.worker import write_machine, write_speed
from src.comparison.process import run_twin
from src.notebook.setup import both_twins
from src.xception.blocks import BACKBONE_LAYERS, layer_multiply_adds
from src.xception.stages import FINETUNE, trainable_layers

SRC = Path(__file__).parents[2] / "src"
HEAD = "onednn_verbose,v1,primitive,exec,cpu"
PRINTED = f"""onednn_verbose,v1,info,oneDNN v3.7.1
{HEAD},convolution,brgconv_1x1:avx512_core,forward_training,f32,,alg,mb16_ic728oc728_ih14oh14kh1sh1,5
{HEAD},convolution,jit_dw:avx512_core,forward_training,f32,,alg,mb16_g728ic728oc728_ih14oh14kh3sh1,1
{HEAD},convolution,jit:avx512_core,forward_training,f32,,alg,mb16_ic3oc32_ih224oh111kh11sh2,0.5
{HEAD},reorder,jit:uni,undef,src_f32::a dst_f32::b,,,16x728x14x14,1.5
{HEAD},pooling,jit:avx512_core,forward_inference,f32,,alg,mb16ic128_ih109oh55kh1sh2,0.25
"""
PEAKS = {"float32_flops": 1e12, "bfloat16_flops": 4e12, "bytes_per_second": 1e11}


@pytest.fixture
def turns(monkeypatch, tmp_path):
    """Runs that take no time: the speed of each is 10, times 3 for a twin, plus its turn."""
    seen = []

    def run_twin(work, framework, config, data, quiet=False, cell=None):
        if work is write_machine:
            return json.dumps(PEAKS | {"gpu": None}).encode()
        made = Cell(**cell)
        if work is write_profile:
            assert made.is_main and made.written != TWIN
            return json.dumps(shares(PRINTED, 0.01)).encode()
        seen.append(made)
        if made.written == "torch.compile":
            raise InputError("No compiler.")
        speed = (30.0 if made.written == TWIN else 10.0) + seen.count(made)
        told = {"speed": speed, "start": 5, "build": 1, "first_step": 2, "peak_memory_mb": 900}
        return json.dumps(told).encode()

    monkeypatch.setattr(measure, "run_twin", run_twin)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(write_set(tmp_path / "data")))
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx2"})
    return seen


def measured(turns, count=3):
    return measure_speeds(declared_cells(), count, log=lambda _: None)


def test_at_most_40_rows_and_each_has_what_it_is_compared_with():
    cells = declared_cells()
    assert len(cells) == len(set(cells)) <= 40
    assert {cell.reference for cell in cells if cell.task != INPUT} <= set(cells)
    assert {cell.framework for cell in cells} == {"tf", "pt"}


def test_turns_are_medians_and_ratios_are_taken_turn_by_turn(turns):
    rows = measured(turns)["rows"]
    twin = next(row for row in rows if row["written"] == TWIN and row["task"] == TRAIN)
    assert [twin[name] for name in ("low", "images_per_second", "high")] == [31, 32, 33]
    assert twin["ratio"] == {"value": 32 / 12, "low": 33 / 13, "high": 31 / 11}
    plain = next(row for row in rows if row["written"] == PLAIN)
    assert "ratio" not in plain and plain["roofline"] < 1
    assert [row["task"] for row in rows if "roofline" not in row and "missing" not in row] == [
        *[BLOCK13] * 4, *[INPUT] * 2,
    ]  # fmt: skip


def test_each_turn_has_every_row_once_in_an_order_of_its_own(turns):
    measured(turns, 2)
    compiled = {cell for cell in turns if cell.written == "torch.compile"}  # failed: not again
    half = (len(turns) + len(compiled)) // 2
    first, second = turns[:half], turns[half:]
    assert len(set(first)) == len(first) and set(second) == set(first) - compiled
    assert second != [cell for cell in first if cell in set(second)]
    for turn in (first, second):  # what is compared stays together
        kinds = [(cell.task, cell.image_size, cell.batch_size) for cell in turn]
        assert len([*itertools.groupby(kinds)]) == len(set(kinds))


def test_ctrl_c_keeps_what_was_measured(turns, monkeypatch):
    def impatient(line):
        if len(turns) == 60 and not line.startswith("Stopped"):
            raise KeyboardInterrupt

    record = measure_speeds(declared_cells(), 3, log=impatient)
    counts = [row["turns"] for row in record["rows"] if "turns" in row]
    assert {1, 2} == set(counts) and sum(counts) == 58  # two failed, of 60
    assert "Medians of 1 to 2 turns" in speed_table(record)
    once = next(r for r in record["rows"] if r.get("turns") == 1 and "ratio" in r)
    assert once["ratio"]["low"] == once["ratio"]["high"]


def test_what_a_machine_lacks_and_what_failed_stand_in_their_rows(turns):
    rows = measured(turns)["rows"]
    missing = {row["precision"]: row["missing"] for row in rows if "missing" in row}
    assert "lacks the flag avx512_bf16" in missing["bfloat16"]
    assert missing["float32"] == "It failed: No compiler."
    table = speed_table({"rows": rows, "machine": PEAKS, "hardware": HARDWARE})
    assert "No compiler" in table and "2.67 (2.54 to 2.82)" in table


HARDWARE = {"cpu": "A", "cores": 2, "memory_gb": 4, "gpu": None}


def test_shares_of_a_step_are_summed_by_kind():
    expected = dict(zip(KINDS, (0.5, 0.15, 0.15, 0.025, 0.175)))
    assert shares(PRINTED, 0.01) == pytest.approx(expected)


def test_no_onednn_no_profile():
    assert shares("onednn_verbose,v1,info,nothing\n", 0.01) == {}


def test_main_rows_far_from_the_roofline_are_explained(turns):
    record = measured(turns)
    explained = [row for row in record["rows"] if "profile" in row]
    low = [row for row in record["rows"] if row.get("roofline", 1) < measure.LOW]
    assert explained and len(explained) < len(low)
    row = "| forward | PyTorch, plain | float32 | 50% | 15% | 15% | 2% | 17% |"
    assert row in speed_table(record)


@pytest.mark.slow
def test_onednn_says_where_the_time_went():
    """In a process of its own, since it reads what it is asked for only once."""
    cell = dataclasses.asdict(Cell("pt", FORWARD, image_size=71))
    told = json.loads(run_twin(write_profile, "pt", EXPERIMENT, cell=cell))
    assert sum(told.values()) == pytest.approx(1) and min(told.values()) >= 0
    assert told[POINTWISE] > 0.1 and told[REORDER] > 0.01  # in PyTorch's default order of memory


def test_the_roofline_of_one_convolution():
    cell = Cell("pt", FORWARD)
    pointwise = next(layer for layer in BACKBONE_LAYERS if layer.name == "block5_sepconv1")
    side2 = 14 * 14
    assert layer_multiply_adds(pointwise, 224) == side2 * (9 * 728 + 728 * 728)
    only = [pointwise]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "all_layers", lambda _: only)
        # Depthwise: 2 * 9 * 728 operations an output pixel are less than 8 * 728 bytes take;
        # pointwise: 2 * 728 * 728 operations take longer than as many bytes.
        by_hand = side2 * (8 * 728 / 1e11 + 2 * 728**2 / 1e12)
        assert least_seconds(cell, PEAKS) == pytest.approx(by_hand)
    train = Cell("pt", TRAIN)
    assert least_seconds(train, PEAKS) == pytest.approx(3 * least_seconds(cell, PEAKS))


def test_a_twin_trains_the_blocks_that_its_row_names():
    blocks = {}
    for task in (TRAIN, BLOCK13):
        trained = trainable_layers(cell_config(Cell("pt", task), EXPERIMENT, 6), FINETUNE)
        blocks[task] = {name.partition("_")[0] for name in trained}
    assert blocks[BLOCK13] == {"block13", "block14", "head"}
    assert {"block1", "block13"} < blocks[TRAIN]


def test_the_figure_is_drawn(turns, tmp_path):
    record = measured(turns)
    assert write_speed_figure(record, tmp_path / "speeds.png").is_file()
    widths = [bar.get_width() for axes in draw_speeds(record).axes for bar in axes.patches]
    rows = [row for row in record["rows"] if (row["image_size"], row["batch_size"]) == MAIN]
    rows = [row for row in rows if row["task"] in (TRAIN, FORWARD) and "missing" not in row]
    assert rows and sorted(widths) == sorted(row["images_per_second"] for row in rows)


def test_a_setting_of_the_experiment_is_refused(capsys):
    assert main(["bench", "--image-size", "96"]) == 2
    assert "Leave out --image-size" in capsys.readouterr().err
    assert main(["bench", "--only", "forward", "--seed", "1", "--image-size", "96"]) == 2
    assert capsys.readouterr().err.endswith("Leave out --image-size --seed.\n")
    assert main(["bench", "--preset", "tuned"]) == 2
    assert "Leave out --preset" in capsys.readouterr().err
    assert main(["bench", "--only", "nonsense"]) == 2
    assert "pt train plain float32 224 16" in capsys.readouterr().err


@pytest.mark.parametrize("twin", ["tf", "pt"])
def test_the_plain_scripts_import_nothing_of_this_package(twin):
    tree = ast.parse((SRC / twin / "plain.py").read_text())
    modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert not [name for name in modules if name.startswith("src")]


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tf", "pt"])
def test_a_plain_row_runs_without_the_settings_of_the_twin(framework):
    code = (
        "import io, sys; from src.comparison.bench.cells import *; "
        "from src.comparison.bench.worker import write_speed; "
    )
    for written in (PLAIN, TWIN):
        cell = Cell(framework, FORWARD, written, image_size=71, batch_size=1)
        code += (
            f"write_speed({framework!r}, cell_config({cell}, EXPERIMENT, 1), None, io.BytesIO(), "
            f"cell={dataclasses.asdict(cell)}); print('src.{framework}' in sys.modules); "
        )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=SRC.parent, capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["False", "True"], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tf", "pt"])
def test_every_task_runs_both_ways(framework, tmp_path, monkeypatch):
    monkeypatch.setattr("src.common.clock.TURN", 0.0)
    both_twins()  # torchvision first
    data = write_set(tmp_path / "data")
    for task in (TRAIN, FORWARD, INPUT):
        for written in (PLAIN, TWIN) if task != INPUT else (TWIN,):
            cell, output = Cell(framework, task, written, image_size=71, batch_size=2), io.BytesIO()
            config = cell_config(cell, EXPERIMENT, 1)
            write_speed(framework, config, data, output, cell=dataclasses.asdict(cell))
            told = json.loads(output.getvalue())
            assert 0 < told["speed"] < 1e6 and min(told.values()) > 0, cell
