"""A saved model as a state dict of timm's `legacy_xception`, for programs without `src`."""

import json
from pathlib import Path

import numpy as np

from src.common.errors import InputError
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
