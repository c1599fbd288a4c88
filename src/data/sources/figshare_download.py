"""figshare's 3,064 slices, fetched through pooch's DOI registry, which brings the checksums.

Four archives of .mat files and `cvind.mat`, about 880 MB. A file that is whole is not fetched
again; one that was cut off goes on from its last byte.
"""

import re
import shutil
import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath

from src.common.cache import progress
from src.common.errors import InputError
from src.common.files import atomic_folder, make_folder, write_json
from src.data.sources.origin import MARKER

DOI = "10.6084/m9.figshare.1512427.v5"  # a version is frozen: the same files for everybody
PAGE = f"https://doi.org/{DOI}"
NAME = "figshare-1512427-v5"
TIMEOUT = 30  # s without a byte
# One slice has about 1 MB. What is larger, or whose name is no number, is no slice.
LARGEST_MEMBER = 64 * 2**20
_SLICE = re.compile(r"(\d{1,5}|cvind)\.mat")


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
        files = _fetch(parts)
        with atomic_folder(target) as folder:
            for file in files:
                _unpack(file, folder)
            write_json(folder / MARKER, {"source": f"doi:{DOI}"})
    except InputError:
        raise
    except Exception as error:  # whatever went wrong, the way out is the same
        raise InputError(
            f"figshare's slices could not be downloaded: {_why(error)}. What has come is kept: the "
            f"same command goes on from there. By hand: open {PAGE} in a browser, download all, "
            f"unpack the archives into one folder, and give it with --figshare DIR."
        ) from error
    shutil.rmtree(parts)
    return target


def _fetch(folder: Path) -> list[Path]:
    """Return the archives and `cvind.mat`, fetched into `folder` and checked."""
    import pooch  # imported here, with requests: they take a while, and nothing else needs them
    from pooch.downloaders import REQUESTS_HEADERS, doi_to_repository

    pooch.get_logger().setLevel("WARNING")
    make_folder(folder)
    repository = doi_to_repository(DOI, headers=REQUESTS_HEADERS, timeout=TIMEOUT)
    store = pooch.create(path=folder, base_url=f"doi:{DOI}", retry_if_failed=2)
    repository.populate_registry(store)
    names = sorted(name for name in store.registry if name.endswith((".zip", ".mat")))
    if not names or any(PurePosixPath(name).name != name for name in names):
        raise ValueError(f"figshare lists no archives of slices: {sorted(store.registry)[:5]}")
    store.urls = {name: repository.download_url(name) for name in names}
    return [
        Path(store.fetch(name, downloader=partial(_resume, folder / f"{name}.part")))
        for name in names
    ]


def _resume(part: Path, url: str, target: str, _pooch) -> None:
    """Fetch `url` into `part`, from where that ends, and move it to `target`; a pooch downloader.

    pooch checks the checksum then, and throws away what does not have it.
    """
    import requests
    from pooch.downloaders import REQUESTS_HEADERS

    have = part.stat().st_size if part.exists() else 0
    asked = {**REQUESTS_HEADERS, "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
    with requests.get(url, headers=asked, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 206 or response.status_code == 200:
            fresh = response.status_code == 200  # also: the server cannot go on from the middle
            length = int(response.headers.get("Content-Length", 0))
            bar = progress((), (0 if fresh else have) + length, part.stem, "B")
            bar.unit_scale = True
            bar.update(0 if fresh else have)
            with part.open("wb" if fresh else "ab") as file, bar:
                for piece in response.iter_content(1 << 18):
                    file.write(piece)
                    bar.update(len(piece))
        elif not (response.status_code == 416 and have):  # 416: nothing is left to fetch
            raise requests.HTTPError(f"figshare answered {response.status_code} for {url}")
    part.replace(target)


def _unpack(file: Path, folder: Path) -> None:
    """Put the .mat files of an archive, or the one that `file` is, into `folder`, flat.

    Only the last part of a member's name counts, so none can leave `folder`.
    """
    if file.suffix == ".mat":
        shutil.copyfile(file, folder / file.name)
        return
    with zipfile.ZipFile(file) as archive:
        members = [
            (member, PurePosixPath(member.filename).name)
            for member in archive.infolist()
            if _SLICE.fullmatch(PurePosixPath(member.filename).name)
        ]
        for member, name in progress(members, len(members), f"Unpacking {file.stem}", "file"):
            if member.file_size > LARGEST_MEMBER:
                raise zipfile.BadZipFile(f"{name} claims {member.file_size / 1e6:.0f} MB")
            # zipfile reads no more than a member claims, and checks its sum.
            with archive.open(member) as packed, (folder / name).open("xb") as plain:
                shutil.copyfileobj(packed, plain)


def _why(error: Exception) -> str:
    """Return what went wrong as one clause."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"ConnectionError", "Timeout", "ChunkedEncodingError"}:
        return "no connection to figshare, or it broke off"
    # NotImplementedError: zipfile's for a way of compressing that it does not know.
    if isinstance(error, (zipfile.BadZipFile, zlib.error, FileExistsError, NotImplementedError)):
        return f"an archive cannot be unpacked ({error})"
    if isinstance(error, ValueError) and "hash" in str(error):
        return "what came does not have the checksum that figshare publishes, and was thrown away"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write: {error.strerror}"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
