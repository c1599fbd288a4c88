"""Brain tumour classification with Xception, twice: one experiment in TensorFlow and in PyTorch.

The map of the package. Imports run downwards only; a folder may use every folder below it:

    __main__       python -m src VERB: finds the verb, prints errors
    cli            the options of each verb, and what each prints
    notebook       what the notebooks call
    pretrained     the shipped classifier, and how it is made from a run
    results        the grid of published runs, its statistics, tables and figures
    comparison     both twins side by side: report, parity, attribution, speed, baselines
    serving        images -> answers, with a saved model and without a framework: `load_classifier`
    experiment     one run of one twin: images -> a folder with model and record
    tf, pt         the twins: same files, same public names, same arguments
    training       what both training loops share: schedule, history, checkpoints
    feature_cache  the outputs of frozen blocks, kept on disk
    records        a run on disk: read, check, write
    xception       the network as facts: block table, stages, weights
    data           files -> catalogue -> split -> pixels -> NumPy batches
    evaluation     predictions -> metrics, intervals
    config         ExperimentConfig, which describes an experiment to both twins
    differences    how the frameworks differ, and how the exact twin settles each difference
    common         files, errors, hardware, the clock of all speeds, progress bars, renamed names

Importing `src` loads none of them, so neither framework is loaded by accident. `load_classifier` is
here too: `from src import load_classifier`.
Not a medical device: for research and teaching only.
"""


def __getattr__(name: str):
    if name == "load_classifier":
        from src.serving.classifier import load_classifier

        return load_classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
