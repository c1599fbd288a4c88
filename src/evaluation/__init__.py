"""Predictions to numbers. NumPy and scikit-learn only; no framework."""
