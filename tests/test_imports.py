"""`src` imports where Unix-only modules are missing, as on Windows; and its parts load little."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

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


# In a thread, as Keras's `fit`: fills four blocks, 48 MB each, and frees them, twelve times. Prints
# what share of the last ten times' memory came from the system. A fault takes back one setting.
FETCHED = """
import ctypes, importlib, resource, sys
from concurrent.futures import ThreadPoolExecutor
importlib.import_module(sys.argv[1])
from src.common import allocator
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
if sys.argv[2:]:
    libc.mallopt(getattr(allocator, sys.argv[2]), int(sys.argv[3]))
def step(_):
    blocks = [libc.malloc(48_000_000) for _ in range(4)]
    for block in blocks:
        libc.memset(block, 1, 48_000_000)
    for block in blocks:
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with ThreadPoolExecutor(1) as thread:
    faults = [*thread.map(step, range(12))]
print((faults[-1] - faults[-11]) * resource.getpagesize() / (10 * 4 * 48_000_000))
"""
FAULTS = {"_MMAP_MAX": 65_536, "_TRIM_THRESHOLD": 131_072, "_ARENA_MAX": 8}  # as in glibc
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
@pytest.mark.skipif(
    HUGE_PAGES.is_file() and "[always]" in HUGE_PAGES.read_text(),
    reason="pages here have another size than is counted with",
)
@pytest.mark.parametrize("twin", ["src.pt", "src.tf"])
def test_a_twin_keeps_the_memory_of_freed_tensors(twin):
    fetched = [
        float(python(FETCHED, twin, *fault).stdout)
        for fault in ((), *((name, str(value)) for name, value in FAULTS.items()))
    ]
    assert fetched[0] < 0.01 and min(fetched[1:]) > 0.2
