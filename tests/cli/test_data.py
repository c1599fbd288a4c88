"""`python -m src data ...`, and the download behind it."""

import json
import sys

import pytest
from image_folders import data_command, disk_fills_up, picture, truncate, write_set

from src.common.errors import InputError
from src.data.sources.download import DATASET, VERSION, download_kaggle


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))


@pytest.fixture
def fetched(tmp_path):
    """Put the dataset where kagglehub keeps what it has fetched, and return that folder."""
    owner, name = DATASET.split("/")
    home = tmp_path / "kagglehub/datasets" / owner / name
    root = write_set(home / "versions" / str(VERSION), suffix=".jpg")
    (home / f"{VERSION}.complete").touch()
    return root


def test_download_takes_the_pinned_version_into_the_folder(fetched, offline, tmp_path, capsys):
    data_command("download", "--out", tmp_path / "dataset")
    (folder,) = (tmp_path / "dataset").glob("[!.]*")
    assert folder.name == "brain-tumor-mri-dataset-v1"
    files = {path.relative_to(folder) for path in folder.rglob("*.jpg")}
    assert files == {path.relative_to(fetched) for path in fetched.rglob("*.jpg")}
    out = capsys.readouterr().out
    assert f"The images are in {folder}." in out and "Training" in out


def test_download_offline_says_what_to_do(offline, tmp_path):
    with pytest.raises(InputError) as caught:
        download_kaggle(tmp_path / "dataset")
    message = str(caught.value)
    assert "no connection to Kaggle" in message
    assert "https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset" in message
    assert f"{tmp_path / 'dataset' / 'Training'}" in message and "--data" in message
    assert list((tmp_path / "dataset").glob("[!.]*")) == []
    assert not [*(tmp_path / "dataset").glob("*.tmp*")]


def test_a_download_that_is_there_is_not_repeated(fetched, tmp_path, monkeypatch):
    folder = download_kaggle(tmp_path / "dataset")
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # whoever fetches again fails
    assert download_kaggle(tmp_path / "dataset") == folder


def test_a_copy_that_fails_leaves_nothing(fetched, offline, tmp_path, monkeypatch):
    disk_fills_up(monkeypatch)
    with pytest.raises(InputError, match=r"Cannot write .*No space left"):
        download_kaggle(tmp_path / "dataset")
    assert list((tmp_path / "dataset").glob("[!.]*")) == []
    assert not [*(tmp_path / "dataset").glob("*.tmp*")]


def test_without_kagglehub_the_message_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(InputError, match="pip install kagglehub"):
        download_kaggle(tmp_path / "dataset")


def test_download_into_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot write to the folder"):
        download_kaggle(tmp_path / "file")


def test_summary_counts_and_names_what_is_not_used(tmp_path, capsys):
    root = write_set(tmp_path / "set")
    picture(9, size=100).save(root / "Training/glioma/cut.png")
    truncate(root / "Training/glioma/cut.png")
    data_command("summary", "--data", root, "--json", tmp_path / "about.json")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"real dataset set in {root}"
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["Training"] == ["12", "9", "6", "12", "39"]
    assert rows["Testing"] == ["4", "4", "4", "4", "16"]
    assert "not used: 1 files" in lines
    assert any("Training/glioma/cut.png: cannot be decoded" in line for line in lines)
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["counts"]["Training"]["glioma"] == 12


def test_phantom_is_written_where_asked(tmp_path, capsys):
    arguments = ("--out", tmp_path / "heads", "--count", 40, "--size", 32, "--seed", 3)
    data_command("phantom", *arguments)
    assert len(list((tmp_path / "heads").rglob("*.jpg"))) == 40
    assert "Drew 40 phantom slices" in capsys.readouterr().out
    with pytest.raises(InputError, match="not an empty folder"):
        data_command("phantom", *arguments)


@pytest.mark.parametrize("what", ["summary", "audit", "split", "provenance"])
def test_every_command_says_that_images_are_synthetic(what, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("FIGSHARE_DATA", raising=False)
    data_command("phantom", "--out", tmp_path / "heads", "--count", 80, "--size", 32)
    data_command(what, "--data", tmp_path / "heads", "--json", tmp_path / "about.json")
    assert "PHANTOM DATA" in "".join(capfd.readouterr())
    assert "PHANTOM DATA" in json.loads((tmp_path / "about.json").read_text())["note"]
