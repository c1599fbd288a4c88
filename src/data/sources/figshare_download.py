"""figshare's 3,064 slices, fetched through pooch's DOI registry, which brings the checksums.

Four archives of .mat files and `cvind.mat`, about 880 MB. A file that is whole is not fetched
again.
"""

import shutil
from pathlib import Path

from src.common.cache import progress
from src.common.errors import InputError
from src.common.files import atomic_folder, make_folder, write_json
from src.data.sources.kaggle import first_line, is_offline
from src.data.sources.origin import MARKER

DOI = "10.6084/m9.figshare.1512427.v5"  # a version is frozen: the same files for everybody
PAGE = f"https://doi.org/{DOI}"
NAME = "figshare-1512427-v5"


def download_figshare(out: Path) -> Path:
    """Fetch the slices into a new folder in `out`, which appears only when it is complete.

    Raises:
        InputError: no network, figshare refuses, what came does not have figshare's checksum, or
            `out` cannot be written; says how to do it by hand.
    """
    out = make_folder(Path(out).expanduser())
    target = out / NAME
    if target.exists():
        return target
    parts = out / f".{NAME}.parts"
    try:
        with atomic_folder(target) as folder:
            for file in _fetch(make_folder(parts)):
                if file.suffix == ".mat":
                    shutil.copyfile(file, folder / file.name)
                else:
                    shutil.unpack_archive(file, folder)
            write_json(folder / MARKER, {"source": f"doi:{DOI}"})
    except InputError:
        raise
    except Exception as error:  # whatever went wrong, the way out is the same
        if is_offline(error):
            why = "no connection to figshare, or it broke off"
        elif isinstance(error, ValueError) and "hash" in str(error):
            why = "what came does not have the checksum that figshare publishes"
        else:
            why = first_line(error)
        raise InputError(
            f"figshare's slices could not be downloaded: {why}. Files that came whole are kept: "
            f"the same command fetches the rest. By hand: open {PAGE} in a browser, download all, "
            "unpack the archives into one folder, and give it with --figshare DIR."
        ) from error
    shutil.rmtree(parts)
    return target


def _fetch(folder: Path) -> list[Path]:
    """Return the archives and `cvind.mat`, fetched into `folder` and checked."""
    import pooch  # imported here: it takes a while, and nothing else needs it

    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(path=folder, base_url=f"doi:{DOI}/", retry_if_failed=2)
    store.load_registry_from_doi()
    names = sorted(name for name in store.registry if name.endswith((".zip", ".mat")))
    files = []
    for name in names:
        bar = progress((), 1, name, "B")  # learns its total from pooch
        files.append(Path(store.fetch(name, downloader=pooch.DOIDownloader(progressbar=bar))))
    return files
