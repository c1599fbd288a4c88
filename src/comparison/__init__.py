"""Both twins, side by side, through the files they wrote. Imports neither of them."""
