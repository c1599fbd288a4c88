"""The shipped classifier's files, and the one way to make them: `export --to pretrained`."""
