"""The notebooks' figure of mistakes: the images are found however their folders are named."""

import pytest

from src.common.files import read_json
from src.notebook import explanations
from src.results.grid import RESULTS
from tests.image_folders import picture, write_set

MISTAKES = read_json(RESULTS / "table.json")["mistakes"]["pt"]["largest"]


@pytest.mark.parametrize(
    "inside, renamed",
    [
        ("", {}),
        ("archive", {}),
        ("archive", {"Training": "train", "pituitary": "Pituitary tumour"}),
    ],
)
def test_the_mistakes_are_shown_wherever_the_images_lie(tmp_path, monkeypatch, inside, renamed):
    root = write_set(tmp_path / inside)
    for row in MISTAKES:
        picture(0).save(root / row["path"])
    for name, other in renamed.items():
        for folder in [root, *root.iterdir()]:
            if (folder / name).is_dir():
                (folder / name).rename(folder / other)
    drawn = []
    monkeypatch.delenv("SMOKE", raising=False)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(tmp_path))
    monkeypatch.setattr(explanations, "draw_overlays", lambda panels, _: drawn.extend(panels))
    monkeypatch.setattr(explanations, "show", lambda *_: None)
    explanations.show_mistakes()
    assert len(drawn) == len(MISTAKES) > 0


def test_of_other_images_no_mistakes_are_shown(tmp_path, monkeypatch):
    monkeypatch.delenv("SMOKE", raising=False)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(write_set(tmp_path / "set")))
    monkeypatch.setattr(explanations, "show", lambda *_: pytest.fail("a figure of what?"))
    explanations.show_mistakes()
