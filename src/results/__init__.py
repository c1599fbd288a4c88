"""The experiment that the README reports: a grid of runs, resumable, and the table made of them."""
