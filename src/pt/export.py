"""A model as timm's state dict, torch.export or ONNX, for programs that do not have `src`."""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from src.common.errors import InputError
from src.pt.model import XceptionClassifier
from src.training.checkpoint import model_card, read_model
from src.training.export import export_config, image_lines
from src.xception.blocks import tensors
from src.xception.stages import all_layers
from src.xception.weight_files import write_safetensors


def export_model(folder: Path, file: Path) -> str:
    """Write the model saved in `folder` to `file`: images (B, 3, S, S) in [-1, 1] -> (B, K).

    The outputs are logits, as those of every model of timm. The file's metadata hold `model.json`,
    which names classes and preprocessing. timm's network computes otherwise than Keras's: the lines
    returned mend that, as `src.pt.align.align` does here.

    Returns:
        Python that loads the file and predicts an image; it needs timm, NumPy and Pillow.
    Raises:
        InputError: there is no model, `file` does not end in .safetensors, defaults were restored,
            or the head has a hidden layer.
    Twin: `src.tf.export.export_model` (a `.keras` file, which gives probabilities).
    """
    config = export_config(folder, file, ".safetensors")
    if config.hidden_units:
        raise InputError(
            f"The model in {folder} has a hidden layer in its head (hidden_units="
            f"{config.hidden_units}); timm's legacy_xception has no place for it. Use --to keras."
        )
    weights, _ = read_model(folder)
    state = {
        tensor.torch_name.replace("head.logits", "fc"): np.ascontiguousarray(
            tensor.to_torch(weights[tensor.name])
        )
        for tensor in tensors(all_layers(config))
    }
    write_safetensors(file, state, {"model.json": json.dumps(model_card(config, "pt"))})
    mirrored = "    probs = (probs + model(images.flip(3)).softmax(dim=1)) / 2\n"
    return (
        "import numpy as np\nimport timm\nimport torch\nfrom PIL import Image\n"
        "from safetensors.torch import load_file\n\n"
        f'model = timm.create_model("legacy_xception", num_classes={len(config.classes)})\n'
        f"model.load_state_dict(load_file({str(file)!r}))\n"
        "for layer in model.eval().modules():  # compute as Keras does: epsilon, pools' padding\n"
        "    if isinstance(layer, torch.nn.BatchNorm2d):\n"
        f"        layer.eps = {config.bn_epsilon}\n"
        "    elif isinstance(layer, torch.nn.MaxPool2d):\n"
        "        layer.forward = lambda x: torch.nn.functional.max_pool2d(\n"
        "            x, 3, 2, (x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True\n"
        "        )\n"
        f"{image_lines(config)}"
        "images = torch.from_numpy(images).permute(0, 3, 1, 2)\n"
        "with torch.inference_mode():\n"
        "    probs = model(images).softmax(dim=1)\n"
        f"{mirrored if config.flip_average else ''}"
        f"print(dict(zip({list(config.classes)}, probs[0].tolist())))"
    )


def export_graph(model: XceptionClassifier, file: Path) -> None:
    """Write `model` for programs that have PyTorch or ONNX Runtime alone.

    Input `images` (N, S, S) uint8, gray; output `probabilities` (N, K) float32, with the config's
    `flip_average` the mean over each image and its mirror image.

    Args:
        model: from `build_model`; moved to the CPU.
        file: ends in .onnx or .pt2 (torch.export).
    Twin: `src.tf.export.export_graph` (a SavedModel in place of the torch.export archive).
    """
    side = model.config.image_size
    graph = _Graph(model.cpu()).eval().requires_grad_(False)
    images = torch.zeros((2, side, side), dtype=torch.uint8)
    dynamic = {"images": {0: torch.export.Dim("N")}}
    if file.suffix == ".onnx":
        torch.onnx.export(
            graph,
            (images,),
            file,
            dynamo=True,
            external_data=False,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=dynamic,
            verbose=False,
        )
    else:
        program = torch.export.export(graph, (images,), dynamic_shapes=dynamic)
        with warnings.catch_warnings():  # about channels_last weights, which are whole on a CPU
            warnings.filterwarnings("ignore", "No complete tensor found")
            torch.export.save(program, file)


def run_graph(file: Path, images: np.ndarray) -> np.ndarray:
    """Return the probabilities (N, K) that a .pt2 file gives for images (N, S, S) uint8.

    `torch.export.load` can unpickle and evaluate what is in the file: load only what you trust.
    Twin: `src.tf.export.run_graph`.
    """
    with torch.inference_mode():
        return torch.export.load(file).module()(torch.from_numpy(images)).numpy()


class _Graph(nn.Module):
    """Images (N, S, S) uint8, gray -> probabilities (N, K)."""

    def __init__(self, model: XceptionClassifier):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = (images / 127.5 - 1)[:, None].expand(-1, 3, -1, -1)  # (N, 3, S, S)
        if not self.model.config.flip_average:
            return self.model(x).softmax(dim=1)
        probs = self.model(torch.cat([x, x.flip(3)])).softmax(dim=1)
        return probs.unflatten(0, (2, -1)).mean(dim=0)
