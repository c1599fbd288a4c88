"""Synthetic head slices, for trying the code without data."""
