"""Files -> NumPy batches; knows no framework. Imports nothing, so that each part loads alone."""
