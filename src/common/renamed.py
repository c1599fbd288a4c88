"""Names that changed: old records and configs are read on, old flags and modules name the new one.

The one table of each. A committed record never changes; `read_json` gives its fields their names
of today.
"""

# Fields of a config or a record: old name -> name of today. A flag is its field with dashes.
FIELDS = {
    "redraw": "reinit",
    "head_rate": "head_learning_rate",
    "finetune_rate": "finetune_learning_rate",
    "epoch_images": "max_images_per_epoch",
    "framework_defaults": "restore_defaults",
    "prefix_cache": "feature_cache",
}


def current_names(value: object) -> object:
    """Return JSON values with every renamed field under its name of today."""
    if isinstance(value, dict):
        return {FIELDS.get(name, name): current_names(item) for name, item in value.items()}
    if isinstance(value, list):
        return [current_names(item) for item in value]
    return value


def renamed_flag(argument: str) -> str | None:
    """Return the flag of today for an old one such as `--redraw`; None where it is not old."""
    name = argument.partition("=")[0]
    flags = {f"--{old.replace('_', '-')}": new for old, new in FIELDS.items()}
    return f"--{flags[name].replace('_', '-')}" if name in flags else None
