"""A trained classifier for use: files in, answers out. Loads no framework unless it is asked to."""
