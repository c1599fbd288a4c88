"""The datasets that the merge was made of: fetched, read, and built into one folder."""
