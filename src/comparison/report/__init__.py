"""The side-by-side report: one self-contained HTML page."""
