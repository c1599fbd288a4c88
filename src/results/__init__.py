"""The grid of runs behind the results, resumable, and the pages made from its records.

grid: which runs there are, and their training -> statistics: their records joined to every number
-> markdown and figures: what is shown.
"""
