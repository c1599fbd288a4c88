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

# Modules of `src`, old=current. A package may bear the name of a module that moved into it.
_MOVED = """
    ledger=differences commands=cli files=common.files errors=common.errors
    hardware=common.hardware progress=common.progress training=training.run
    schedule=training.schedule history=training.history storage=training.checkpoint
    comparison.records=records comparison.trace=comparison.parity.trace
    comparison.parity=comparison.parity.measure comparison.parity_options=comparison.parity.settings
    comparison.parity_twin=comparison.parity.worker comparison.parity_plot=comparison.parity.plot
    comparison.parity_verdict=comparison.parity.settings comparison.report=comparison.report.report
    comparison.plots=comparison.report.plots comparison.tables=comparison.report.tables
    comparison.style=comparison.report.style comparison.marks=comparison.report.style
    comparison.samples=comparison.report.samples comparison.overlays=comparison.report.heatmaps
    comparison.attribution=comparison.attribution.runs
    comparison.attribution_measure=comparison.attribution.measure
    comparison.attribution_report=comparison.attribution.report
    comparison.bench=comparison.speed.exactness
    comparison.bench_prefix=comparison.speed.feature_cache
    comparison.frozen_features=comparison.baselines
    data.cache=common.cache data.cli=cli.data data.boxes=data.tumour_boxes
    data.split=data.splits.split data.split_spot=data.splits.split data.frozen=data.splits.frozen
    data.split_clean=data.splits.frozen data.folds=data.splits.folds
    data.split_report=data.splits.report data.grouping=data.splits.groups
    data.groups=data.splits.groups data.conflicts=data.splits.groups
    data.thumbnails=data.duplicates.thumbnails data.similarity=data.duplicates.similarity
    data.provenance=data.patients.recover data.provenance_report=data.patients.report
    data.audit=data.audit.findings data.shortcuts=data.audit.shortcuts
    data.audit_report=data.audit.report data.download=data.sources.kaggle
    data.download_figshare=data.sources.figshare_download data.build=data.sources.build
    data.build_write=data.sources.build data.sources.told=data.sources.origin
    data.sources.looks=data.sources.table data.sources.reader=data.sources
    data.phantom=data.phantom.write data.phantom_head=data.phantom.anatomy
    data.phantom_lesion=data.phantom.lesion data.phantom_paint=data.phantom.painting
    data.phantom_patient=data.phantom.patient
    evaluation.groups=evaluation.metrics evaluation.resampled=evaluation.intervals
    prefix=feature_cache prefix.cache=feature_cache.cache prefix.store=feature_cache.cache
    prefix.plan=feature_cache.plan prefix.batches=feature_cache.cache
    tf.prefix=tf.feature_cache pt.prefix=pt.feature_cache
    reproduce=results reproduce.grid=results.grid reproduce.run=results.run
    reproduce.pool=results.pool reproduce.measure=results.statistics
    reproduce.findings=results.statistics reproduce.costs=results.statistics
    reproduce.table=results.markdown reproduce.figures=results.figures
    notebook.explained=notebook.explanations notebook.upload=notebook.explanations
    notebook.data_figures=notebook.figures.data notebook.score_figures=notebook.figures.scores
    notebook.xception_figures=notebook.figures.xception
    xception.alternatives=notebook.figures.xception xception.readers=xception.weight_files
    xception.imagenet=xception.weights xception.dropout=xception.stages
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
