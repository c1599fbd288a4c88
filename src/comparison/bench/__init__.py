"""How fast both frameworks are, as people write them and as the twins."""
