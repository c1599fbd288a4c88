"""Writing files and folders so that a kill in the middle never leaves half of one."""

import contextlib
import csv
import glob
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from src.common.errors import InputError, reason_of
from src.common.renamed import current_names


def cache_dir() -> Path:
    """Return the folder for derived files: `BRAIN_TUMOR_CACHE`, else the user's cache folder."""
    named = os.environ.get("BRAIN_TUMOR_CACHE")
    if named:
        return with_home(named)
    return with_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "brain-tumor-xception"


def with_home(path: Path | str) -> Path:
    """Return `path` with the user's folder in place of `~`.

    Raises:
        InputError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"No home folder is known for {path}. Write it without ~.") from None


def make_folder(path: Path, advice: str = "Choose another with --out") -> Path:
    """Create `path` and its parents.

    Raises:
        InputError: it cannot be created or written; `advice` says what else to do.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise InputError(
            f"Cannot write to the folder {path}: {error.strerror or error}. {advice}, or mend its "
            "permissions."
        ) from error


@contextlib.contextmanager
def atomic_write(
    path: Path, advice: str = "Free some space there, or choose another folder"
) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` only when the block ends well.

    A link stays: the file that it leads to is written.

    Raises:
        InputError: the disk is full or fails; `advice` says what to do. Or `path` is no file.
    """
    path = Path(path)
    with contextlib.suppress(OSError):  # of what cannot be looked at, writing says why
        link = path.is_symlink()
        # A link there is a stream, such as /dev/stdout, even where that goes to a file.
        stream = link and str(path.absolute()).startswith(("/dev/", "/proc/"))
        if stream or (path.exists() and not path.is_file()):
            raise InputError(
                f"Cannot write {path}: a folder, a pipe or a device is there. Give the name of a "
                "file."
            )
        path = Path(os.path.realpath(path)) if link else path
    make_folder(path.parent)
    # The suffix stays last: savers such as np.savez and matplotlib go by it. (A process id would
    # not do: machines that share the folder may have the same.)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}. {advice}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    """Write rows as CSV; a file's name that is no UTF-8 keeps its bytes.

    Args:
        columns: their names, in order; a row that lacks one has it empty.
    Raises:
        InputError: as `atomic_write`.
    """
    how = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with atomic_write(path) as temporary, temporary.open("w", **how) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _flush(path: Path) -> None:
    """Wait until a file is on the disk: after a power cut its new name must not be half of it."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Wait until a new name in a folder is on the disk; Windows has no such call."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # some network file systems cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path, older_than: float = 0.0, of: str = "") -> None:
    """Remove what killed processes left of files and folders they were writing in `folder`.

    Args:
        older_than: seconds since the last write; 0 where nobody else is writing.
        of: the stem of one file or folder, whose leftovers alone are removed.
    """
    # The names of `atomic_write`, of `atomic_folder` and of safetensors, which writes files only.
    name = glob.escape(of) or "*"
    patterns = [f".{name}.????????.tmp.*", f".{name}.????????.tmp", *[".tmp??????"] * (not of)]
    for pattern in patterns:
        for leftover in Path(folder).glob(pattern):
            with contextlib.suppress(OSError):  # another process was faster, or has it open
                if time.time() - leftover.stat().st_mtime < older_than:
                    continue
                if leftover.is_file() or leftover.is_symlink():
                    leftover.unlink()
                elif leftover.name.endswith(".tmp"):
                    shutil.rmtree(leftover)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path`; rename it to `path` only when the block ends well.

    Raises:
        InputError: `path` is neither missing nor an empty folder, or cannot be written.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is not an empty folder. Choose another with --out.")
    make_folder(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp makes it unreadable for others
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            _flush(file)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {reason_of(error)}. Free some space, or choose another folder "
            "with --out."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def only_file(path: Path) -> Path:
    """Return `path`: a file, a folder or nothing.

    Raises:
        OSError: it is a pipe or a device, whose reading may never end.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError("a pipe or a device, not a file")
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with only_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; NaN is refused, so every reader can parse it."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, *, as_written: bool = False) -> object:
    """Read JSON; fields that were renamed come under their names of today, unless `as_written`.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    path = Path(path)
    try:
        value = json.loads(only_file(path).read_text(encoding="utf-8"))
        return value if as_written else current_names(value)
    except FileNotFoundError:
        raise InputError(f"No such file: {path}.") from None
    except RecursionError:
        raise InputError(f"{path} is not a readable JSON file: it is nested too deeply.") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is not a readable JSON file: {reason_of(error)}.") from error
