"""timm's .pth -> safetensors; `src.xception.weight_files` runs it as a program.

python -m src.xception.timm_pth xception.pth xception.safetensors
"""

from pathlib import Path

import torch

from src.common.errors import InputError
from src.xception.weight_files import Weights, convert, from_timm


def read_timm_pth(path: Path) -> Weights:
    """Read a state dict of timm's `legacy_xception`, unpickling nothing but tensors.

    Raises:
        InputError: it is something else, or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        arrays = {name: value.float().numpy() for name, value in state.items()}
    except Exception as error:  # PyTorch raises almost anything on a damaged file
        raise InputError(
            "it is not a state dict of tensors alone, or it is damaged "
            f"({type(error).__name__}). Fetch it again, or save it as .safetensors."
        ) from error
    return from_timm(arrays, path.name)


if __name__ == "__main__":
    convert(read_timm_pth)
