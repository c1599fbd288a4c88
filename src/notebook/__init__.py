"""What the notebooks call, so that each of their cells is one call and one figure."""
