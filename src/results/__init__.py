"""The grid of runs behind the results, resumable, and the pages made from its records.

grid: which runs there are -> run: train them, keep record and predictions -> pool: read them, join
the folds -> statistics: every number -> markdown and figures: what is shown.
"""
