"""Brain tumour classification with Xception, twice: one experiment in TensorFlow and in PyTorch.

A map of the package (it imports nothing, so that neither framework is loaded by accident):

    config      ExperimentConfig, the one description of an experiment that both twins read
    ledger      where the two frameworks differ, and how the exact twin settles it
    data        files -> catalogue -> split -> pixels -> NumPy batches; knows no framework
    xception    the network as facts: block table, weights, which layers train when
    tf, pt      the twins: same files, same public names, same arguments
    evaluation  predictions -> numbers
    comparison  the only place that looks at both twins, through the files they wrote
    notebook    what the notebooks call, and what they must be
    experiment  one run of one twin, from a folder of images to a record
    __main__    python -m src {data,train,evaluate,compare,predict}: parse, call, print

Not a medical device: for research and teaching only.
"""
