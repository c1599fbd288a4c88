"""Which images show the same slice."""
