"""What a run starts from where nobody says it."""

import argparse

from image_folders import write_set

from src.cli.options import add_config_options, add_paths, config_from
from src.common.errors import InputError
from src.data.phantom.write import default_phantom


def start_of(*arguments) -> str:
    parser = argparse.ArgumentParser()
    add_paths(parser, "--data")
    add_config_options(parser)
    return config_from(parser.parse_args([str(each) for each in arguments])).init


def unreachable():
    raise InputError("Could not fetch the ImageNet weights.")


def test_where_nothing_is_given(tmp_path, monkeypatch, capsys):
    phantom, real = default_phantom(), write_set(tmp_path / "data")
    monkeypatch.setattr("src.xception.weight_files.fetch_imagenet", lambda: None)
    assert start_of("--data", real) == "imagenet"
    assert start_of("--data", phantom, "--init", "imagenet") == "imagenet"
    assert "***" not in capsys.readouterr().err
    assert start_of("--data", phantom) == "pretrained"
    assert "init=pretrained" in capsys.readouterr().err
    monkeypatch.setattr("src.xception.weight_files.fetch_imagenet", unreachable)
    assert start_of("--data", real) == "pretrained"
    said = capsys.readouterr().err
    assert "Could not fetch" in said and "init=pretrained" in said
    (tmp_path / "own.json").write_text('{"image_size": 96}')
    assert start_of("--data", real, "--config", tmp_path / "own.json") == "pretrained"
    assert "Could not fetch" in capsys.readouterr().err
    (tmp_path / "whole.json").write_text('{"init": "imagenet"}')
    assert start_of("--data", real, "--config", tmp_path / "whole.json") == "imagenet"
    assert start_of("--data", real, "--init", "scratch") == "scratch"
    assert "***" not in capsys.readouterr().err
