"""Files -> NumPy batches; knows no framework. Importing this package loads nothing of it."""
