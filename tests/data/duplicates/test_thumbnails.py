"""What is known of the pixels is made once, however many ask at the same time."""

import threading
import time

import numpy as np

from src.data.duplicates.thumbnails import cached_arrays


def test_one_of_four_makes_what_all_get(cache):
    made, got = [], []

    def make():
        made.append(1)
        time.sleep(0.2)  # the others arrive
        return [np.arange(3), np.full(2, len(made))]

    threads = [
        threading.Thread(target=lambda: got.append(cached_arrays("pairs", b"key", make)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(got) == 4
    assert all(np.concatenate(arrays).tolist() == [0, 1, 2, 1, 1] for arrays in got)
    assert [path.suffix for path in (cache / "pairs").glob("[!.]*")] == [".npz"]
