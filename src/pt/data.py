"""The shared batches as a PyTorch dataset, and timm's default way to read an image."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from src.config import ExperimentConfig
from src.data.batches import Batches
from src.data.pixels import PILLOW_DECODER, Decode, decode_gray, to_gray
from src.feature_cache.cache import CachedBatches
from src.pt.runtime import replica

_CROP = 0.8975  # share of the side that timm's legacy_xception sees, by its `default_cfg`


class _BatchDataset(Dataset):
    """One item is one whole batch, so that workers cannot change what is in it."""

    def __init__(self, batches: Batches | CachedBatches, part: slice):
        self.batches, self.part = batches, part
        self.epoch = self.first = 0

    def __len__(self) -> int:
        return len(self.batches) - self.first

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch = self.batches.batch(self.epoch, self.first + index)
        images, labels, weights = (array[self.part] for array in batch)
        if self.part.step:  # what the mean over this part shall count for in the batch's
            weights = weights * np.float32(len(labels) * self.part.step / len(batch[1]))
        images = torch.from_numpy(images)
        if images.ndim == 4:  # not the pooled features (B, 2048) of a wholly frozen backbone
            # (B, H, W, 3) -> (B, 3, H, W): a view, which is what channels_last memory means.
            images = images.permute(0, 3, 1, 2)
        return images, torch.from_numpy(labels), torch.from_numpy(weights)


class Loader(DataLoader):
    """Batches (B, 3, H, W) float32 in [-1, 1], labels (B,), loss weights (B,).

    Where frozen blocks are skipped, their outputs (B, C, s, s) or (B, 2048) stand for the images.
    Twin: `src.tf.data.Loader`.
    """

    def __init__(self, batches: Batches | CachedBatches, workers: int, replicas: int):
        part = slice(replica()[0], None, replicas) if replicas > 1 else slice(None)
        # batch_size=None: the dataset's items are batches already.
        super().__init__(_BatchDataset(batches, part), batch_size=None, num_workers=workers)
        self.batches = batches

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose whose order and augmentation the batches have, and with which one to begin."""
        # Workers start again with each epoch and see it.
        self.dataset.epoch, self.dataset.first = epoch, first


def make_loader(batches: Batches | CachedBatches, *, workers: int = 0, replicas: int = 1) -> Loader:
    """Return `batches` as a PyTorch DataLoader.

    Args:
        batches: the shared source of batches.
        workers: processes that prepare batches ahead; the batches are the same with any number.
        replicas: how many share each training batch; this one gets its part, and loss weights
            whose mean over the replicas' means is that of the batch.
    Twin: `src.tf.data.make_loader` (workers are threads there).
    """
    return Loader(batches, workers, replicas)


def make_decoder(config: ExperimentConfig) -> tuple[Decode, str]:
    """Return the function that turns a file into gray pixels, and its name.

    Pillow's, unless timm's default is restored by `preprocessing`. `resize` changes nothing here:
    torchvision decodes and resizes with Pillow.
    Twin: `src.tf.data.make_decoder`.
    """
    if "preprocessing" in config.restore_defaults:
        return _decode_by_timm, "timm-1"
    return decode_gray, PILLOW_DECODER


def _decode_by_timm(path: Path, image_size: int) -> np.ndarray:
    """Return (S, S) uint8 as timm evaluates: bicubic, the shorter side, the centre cropped."""
    with Image.open(path) as image:
        gray = to_gray(image)
        larger = int(image_size / _CROP)
        resized = transforms.resize(gray, larger, InterpolationMode.BICUBIC)
        return np.asarray(transforms.center_crop(resized, [image_size, image_size]))
