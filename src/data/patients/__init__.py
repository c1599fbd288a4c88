"""Which patient an image shows."""
