"""Files -> NumPy batches; knows no framework."""

from src.data.batches import Batches
from src.data.catalog import Catalog, read_catalog
from src.data.dataset import Dataset, open_dataset

__all__ = ["Batches", "Catalog", "Dataset", "open_dataset", "read_catalog"]
