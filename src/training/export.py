"""What the exports of both twins share: which models, and how an image becomes their input."""

import dataclasses
from pathlib import Path

from src.common.errors import InputError
from src.config import ExperimentConfig
from src.training.checkpoint import read_model_card


def export_config(folder: Path, file: Path, suffix: str) -> ExperimentConfig:
    """Return the config of a saved model as it is exported: float32, at the side that it tests at.

    Args:
        folder: the model.
        file: what will be written; must end in `suffix`. Without one it is a folder.
    Raises:
        InputError: it does not; or the folder holds no model, or one whose training restored
            framework defaults, so that other programs would compute something else.
    """
    if suffix and file.suffix != suffix:
        raise InputError(f"--out must name a {suffix} file. Received: {file}.")
    _, config = read_model_card(folder)
    if config.restore_defaults:
        raise InputError(
            f"The model in {folder} computes with restored defaults "
            f"({', '.join(config.restore_defaults)}): only exact models are exported."
        )
    fields = {"precision": "float32", "image_size": config.eval_size, "test_size": 0}
    return dataclasses.replace(config, init=Path(config.init).name, **fields)


def gray_lines(config: ExperimentConfig) -> str:
    """Return Python that makes `gray`, a Pillow image of side S, from scan.png, of 8 bits.

    `src.data.pixels.gray_square` has the rules for other files.
    """
    side = config.image_size
    return (
        'gray = Image.open("scan.png").convert("L")\n'
        f"gray = gray.resize(({side}, {side}), Image.Resampling.BILINEAR)\n"
    )


def image_lines(config: ExperimentConfig) -> str:
    """Return Python that makes `images`, (1, S, S, 3) in [-1, 1], from scan.png, of 8 bits."""
    return gray_lines(config) + (
        'images = np.stack([gray] * 3, axis=-1)[None].astype("float32") / 127.5 - 1\n'
    )
