"""A trained classifier for use: files in, calibrated answers out. Imports no framework."""
