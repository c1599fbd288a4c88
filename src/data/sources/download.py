"""Fetch the Kaggle merge (through kagglehub) or figshare's 3,064 slices (through pooch).

Neither needs an account. pooch's DOI registry brings figshare's checksums: four archives of .mat
files and `cvind.mat`, about 880 MB.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from src.common.cache import progress
from src.common.errors import InputError
from src.common.files import atomic_folder, make_folder, with_home, write_json
from src.common.lock import one_writer
from src.data.folders import find_root
from src.data.sources.origin import MARKER

DATASET = "masoudnickparvar/brain-tumor-mri-dataset"
# Version 1 has the 7,023 images that papers used until 2026. Version 2 (February 2026) has 7,200,
# synthetic ones among them, and other parts.
VERSION = 1
HANDLE = f"{DATASET}/versions/{VERSION}"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
DOI = "10.6084/m9.figshare.1512427.v5"  # a version is frozen: the same files for everybody
FIGSHARE_NAME = "figshare-1512427-v5"


def download_kaggle(out: Path) -> Path:
    """Fetch the merge into a new folder in `out`, which appears only when it is complete.

    What kagglehub has in its cache is not fetched again.

    Raises:
        InputError: no network, Kaggle refuses, or `out` cannot be written; says how to do it by
            hand.
    """
    out = make_folder(with_home(out))
    target = out / f"{DATASET.split('/')[1]}-v{VERSION}"
    by_hand = (
        f"By hand: open {PAGE} in a browser, download the archive, and unpack it so that "
        f"{out / 'Training'} and {out / 'Testing'} exist. Or unpack it anywhere and give that "
        "folder with --data."
    )
    if target.exists():
        return target
    with one_writer(target):
        if target.exists():  # another process fetched it meanwhile
            return target
        with _explain_failure("Kaggle", by_hand):
            import kagglehub  # imported here: it takes a while, and nothing else needs it

            fetched = Path(kagglehub.dataset_download(HANDLE))
        fetched = find_root(fetched)
        with atomic_folder(target) as folder:
            files = [path for path in sorted(fetched.rglob("*")) if path.is_file()]
            for path in progress(files, len(files), f"Copying to {target.name}", "file"):
                copy = folder / path.relative_to(fetched)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            write_json(folder / MARKER, {"source": HANDLE})
    return target


def download_figshare(out: Path) -> Path:
    """Fetch the slices into a new folder in `out`, which appears only when it is complete.

    A file that came whole is not fetched again.

    Raises:
        InputError: no network, figshare refuses, what came does not have figshare's checksum, or
            `out` cannot be written; says how to do it by hand.
    """
    out = make_folder(with_home(out))
    target, parts = out / FIGSHARE_NAME, out / f".{FIGSHARE_NAME}.parts"
    by_hand = (
        "Files that came whole are kept: the same command fetches the rest. By hand: open "
        f"https://doi.org/{DOI} in a browser, download all, unpack the archives into one folder, "
        "and give it with --figshare DIR."
    )
    if target.exists():
        return target
    with one_writer(target):
        if target.exists():  # another process fetched it meanwhile
            return target
        make_folder(parts)
        with _explain_failure("figshare", by_hand):
            import pooch  # imported here, as kagglehub is

            pooch.get_logger().setLevel("WARNING")
            store = pooch.create(path=parts, base_url=f"doi:{DOI}/", retry_if_failed=2)
            store.load_registry_from_doi()
            files = []
            for name in sorted(name for name in store.registry if name.endswith((".zip", ".mat"))):
                bar = progress((), 1, name, "B")  # learns its total from pooch
                fetched = store.fetch(name, downloader=pooch.DOIDownloader(progressbar=bar))
                files.append(Path(fetched))
        with atomic_folder(target) as folder:
            for file in files:
                if file.suffix == ".mat":
                    shutil.copyfile(file, folder / file.name)
                else:
                    shutil.unpack_archive(file, folder)
            write_json(folder / MARKER, {"source": f"doi:{DOI}"})
        shutil.rmtree(parts)
    return target


@contextlib.contextmanager
def _explain_failure(site: str, by_hand: str) -> Iterator[None]:
    """Raise an InputError for whatever goes wrong: the way out is the same."""
    try:
        yield
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}  # by name: requests loads late
        if isinstance(error, ImportError):
            why = f"it needs {error.name}: pip install {error.name}"
        elif kinds & {"ConnectionError", "Timeout", "ChunkedEncodingError"}:
            why = f"no connection to {site}, or it broke off"
        elif isinstance(error, ValueError) and "hash" in str(error):
            why = f"what came does not have the checksum that {site} publishes"
        else:
            why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"The download from {site} failed: {why}. {by_hand}") from error
