"""What the notebooks call, so that each of their cells is one call and one figure.

setup: missing libraries; how figures and tables are shown. runs: the notebooks' experiment and the
runs they share. explanations: heat maps and boxes. figures: a module for each kind of figure.
"""
