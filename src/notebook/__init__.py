"""What notebooks call, so that their cells stay a call and a figure.

setup       the libraries that are missing, and how figures are shown
runs        the experiment of the notebooks, and the runs they share
explained   heat maps and boxes of a run's test images
data_figures, score_figures, xception_figures   one figure a question
workflow    the twins' own source, one below the other
upload      a box to drop an image into

And what keeps notebooks true:
address     where the repository lives, and the badges that say so
check       what a notebook must be, with and without outputs
execute     runs a notebook from top to bottom and tidies its outputs
meter       measures the minutes and the memory of that
costs       keeps what was measured, and writes it into first cells
__main__    python -m src.notebook {run,check,address}
"""
