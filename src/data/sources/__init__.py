"""Readers of the datasets that the merge was made of: one table of images from any of them.

`read_source` says which dataset a folder holds and lists its images; no pixels are read until a
`SourceImage` is asked for them.
"""

from src.data.sources.reader import find_figshare, read_source
from src.data.sources.table import SourceImage, same_patient

__all__ = ["SourceImage", "find_figshare", "read_source", "same_patient"]
