"""The PyTorch twin. `src.tf` has the same files, public names and arguments."""
