"""The Kaggle merge, fetched through kagglehub. No account is needed."""

import shutil
from pathlib import Path

from src.common.cache import progress
from src.common.errors import InputError
from src.common.files import atomic_folder, make_folder, write_json
from src.data.catalog import find_root
from src.data.sources.origin import MARKER

DATASET = "masoudnickparvar/brain-tumor-mri-dataset"
# Version 1 has the 7,023 images that papers used until 2026. Version 2 (February 2026) has 7,200,
# synthetic ones among them, and other parts.
VERSION = 1
HANDLE = f"{DATASET}/versions/{VERSION}"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"


def download(out: Path) -> Path:
    """Fetch the dataset into a new folder in `out`, which appears only when it is complete.

    What kagglehub has in its cache is not fetched again.

    Raises:
        InputError: no network, Kaggle refuses, or `out` cannot be written; says how to do it by
            hand.
    """
    out = make_folder(Path(out).expanduser())
    target = out / f"{DATASET.split('/')[1]}-v{VERSION}"
    if target.exists():
        return target
    fetched = find_root(_fetch(out))
    try:
        with atomic_folder(target) as temporary:
            files = [path for path in sorted(fetched.rglob("*")) if path.is_file()]
            for path in progress(files, len(files), f"Copying to {target.name}", "file"):
                copy = temporary / path.relative_to(fetched)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            write_json(temporary / MARKER, {"source": HANDLE})
    except OSError as error:
        raise InputError(f"Cannot write to {out}: {error.strerror or error}.") from error
    return target


def _fetch(out: Path) -> Path:
    try:
        import kagglehub  # imported here: it takes a while, and nothing else needs it

        return Path(kagglehub.dataset_download(HANDLE))
    except ImportError as error:
        raise InputError("The download needs kagglehub: pip install kagglehub.") from error
    except Exception as error:  # whatever went wrong, the way out is the same
        why = "no connection to Kaggle" if is_offline(error) else first_line(error)
        raise InputError(
            f"The dataset could not be downloaded: {why}. By hand: open {PAGE} in a browser, "
            f"download the archive, and unpack it so that {out / 'Training'} and "
            f"{out / 'Testing'} exist. Or unpack it anywhere and give that folder with --data."
        ) from error


def is_offline(error: Exception) -> bool:
    """Tell whether an error of requests says that there is no connection, or that it broke off."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"ConnectionError", "Timeout", "ChunkedEncodingError"})


def first_line(error: Exception) -> str:
    """Return what an error says in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
