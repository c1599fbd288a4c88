"""`src` imports where Unix-only modules are missing, as on Windows; and its parts load little."""

import subprocess
import sys
from pathlib import Path

import pytest

import src.pt

ROOT = Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "src").rglob("*.py"))
MODULES = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in FILES]

# Other packages come first: on Windows they do without these modules, here they may load them.
# torchvision before TensorFlow, or the process dies.
BLOCKED = """
import importlib, sys
import src.pt, torchvision, tensorflow, timm, matplotlib.pyplot, IPython, sklearn, pooch, psutil
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in list(sys.modules):
    if name.startswith("src."):
        del sys.modules[name]
try:
    import fcntl
    sys.exit("fcntl is not blocked: this proves nothing")
except ImportError:
    pass
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_every_module_imports_without_what_windows_lacks():
    result = python(BLOCKED, *MODULES)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize(
    "module, heavy",
    [
        ("src", ("numpy", "src.config")),
        ("src.config", ("numpy",)),
        ("src.data", ("numpy", "h5py", "scipy")),
        ("src.data.augment", ("h5py", "src.data.phantom", "src.data.splits", "sklearn")),
        ("src.serving.medical_files", ("pydicom", "nibabel", "scipy", "h5py", "torch")),
        ("src.experiment", ("tensorflow", "torch", "timm", "matplotlib")),
    ],
)
def test_light_modules_load_nothing_heavy(module, heavy):
    code = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    loaded = python(code, module).stdout.split()
    assert module in loaded and not set(heavy) & set(loaded)


# Counts how many of the last ten of 40 tensors, 48 MB each, get their memory from the system.
# (glibc by itself keeps up to 32.) Given "fault", it takes back what `src.pt` set.
FETCHED = """
import ctypes, resource, sys
import src.pt
if sys.argv[1] == "fault":
    ctypes.CDLL(None).mallopt(src.pt._MMAP_MAX, 65536)  # glibc's default
import torch
counts = []
for _ in range(41):
    tensor = torch.ones(12_000_000)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    del tensor
print((counts[-1] - counts[-11]) * resource.getpagesize() / 48e6)
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(src.pt._libc, "mallopt"), reason="not glibc")
@pytest.mark.skipif(
    HUGE_PAGES.is_file() and "[always]" in HUGE_PAGES.read_text(),
    reason="pages here have another size than is counted with",
)
def test_pytorch_keeps_the_memory_of_a_freed_tensor():
    # The first ones find their place, and something small may take it.
    assert (
        float(python(FETCHED, "as it is").stdout) < 4 < 9 < float(python(FETCHED, "fault").stdout)
    )
