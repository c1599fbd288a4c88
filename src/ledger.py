"""The table of framework differences, as data."""

DROPPABLE_ROWS: tuple[str, ...] = ()
