"""Names that changed: old records are still read; old flags and imports name the new one.

A committed record never changes: `read_json` gives its fields their current names.
"""

# Fields of a config or a record: old name -> current name. A flag is its field with dashes.
FIELDS = {
    "redraw": "reinit",
    "head_rate": "head_learning_rate",
    "finetune_rate": "finetune_learning_rate",
    "epoch_images": "max_images_per_epoch",
    "framework_defaults": "restore_defaults",
    "prefix_cache": "feature_cache",
}

# Modules of `src` that others may import, old=current. A package may bear the name of a module
# that moved into it; then only what the module held is refused.
_MOVED = """
    ledger=differences commands=cli files=common.files errors=common.errors
    hardware=common.hardware progress=common.progress training=training.run
    schedule=training.schedule history=training.history storage=training.checkpoint
    comparison.records=records comparison.report=comparison.report.report
    comparison.attribution=comparison.attribution.runs comparison.parity=comparison.parity.measure
    data.cache=common.cache data.cli=cli.data
    data.split=data.splits.split data.frozen=data.splits.frozen data.grouping=data.splits.groups
    data.thumbnails=data.duplicates.thumbnails data.similarity=data.duplicates.similarity
    data.provenance=data.patients.recover data.audit=data.audit.findings
    data.download=data.sources.download data.build=data.sources.build data.boxes=data.tumour_boxes
    data.phantom=data.phantom.write prefix=feature_cache prefix.cache=feature_cache.cache
    reproduce=results reproduce.grid=results.grid xception.readers=xception.weight_files
    notebook.explained=notebook.explanations tf.prefix=tf.feature_cache pt.prefix=pt.feature_cache
    predict=serving.classifier
"""
MODULES = {"src." + old: "src." + new for old, new in (p.split("=") for p in _MOVED.split())}


def current_names(value: object) -> object:
    """Return JSON values with every renamed field under its current name."""
    if isinstance(value, dict):
        return {FIELDS.get(name, name): current_names(item) for name, item in value.items()}
    if isinstance(value, list):
        return [current_names(item) for item in value]
    return value


def renamed_flag(argument: str) -> str | None:
    """Return the current flag for an old one such as `--redraw`; None where it is not old."""
    name = argument.partition("=")[0]
    for old, new in FIELDS.items():
        for prefix in ("--", "--no-"):
            if name == f"{prefix}{old.replace('_', '-')}":
                return f"{prefix}{new.replace('_', '-')}"
    return None


def check_module(name: str) -> None:
    """Refuse the import of a module that moved, or of what it held.

    Raises:
        ImportError: it moved; the message names the current module.
    """
    for old in (name, name.rpartition(".")[0]):
        if old in MODULES:
            raise ImportError(f"{old} has moved to {MODULES[old]}.", name=name)
