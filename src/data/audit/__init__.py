"""Copies, conflicts, leaks and shortcuts of a dataset."""
