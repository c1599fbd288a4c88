"""Renamed fields. Committed records stay as they were written; `read_json` gives today's names."""

# Fields of a config or a record: old name -> current name.
FIELDS = {
    "redraw": "reinit",
    "head_rate": "head_learning_rate",
    "finetune_rate": "finetune_learning_rate",
    "epoch_images": "max_images_per_epoch",
    "framework_defaults": "restore_defaults",
    "prefix_cache": "feature_cache",
}


def current_names(value: object) -> object:
    """Return JSON values with every renamed field under its current name."""
    if isinstance(value, dict):
        return {FIELDS.get(name, name): current_names(item) for name, item in value.items()}
    if isinstance(value, list):
        return [current_names(item) for item in value]
    return value
