"""A precision that the machine has no arithmetic for is refused in training, not in inference."""

import pytest

from src.common import hardware
from src.common.errors import InputError
from src.config import preset
from src.experiment import load_twin

BOTH = pytest.mark.parametrize("framework", ["tf", "pt"])


@pytest.fixture
def machine(monkeypatch):
    """Return a function that fakes the processor's flags and kind, and the GPU's name."""

    def fake(flags: set[str], kind: str = "x86_64", gpu: str | None = None) -> None:
        monkeypatch.setattr(hardware, "cpu_flags", lambda: flags)
        monkeypatch.setattr("platform.machine", lambda: kind)
        for framework in ("tf", "pt"):
            monkeypatch.setattr(load_twin(framework).runtime, "gpu_name", lambda: gpu)

    yield fake
    for framework in ("tf", "pt"):  # for the tests that follow
        load_twin(framework).runtime.set_precision("float32")


@BOTH
@pytest.mark.parametrize(
    "precision, flags, kind, says",
    [
        ("bfloat16", {"avx2", "avx512f"}, "x86_64", "lacks the flag avx512_bf16 or amx_bf16. On"),
        ("bfloat16", {"asimd"}, "aarch64", "lacks the flag bf16. On a CPU without bfloat16 arith"),
        ("float16", {"avx512_bf16", "avx512_fp16"}, "x86_64", "float16 needs a GPU"),
    ],
)
def test_missing_arithmetic_is_refused_by_name(framework, precision, flags, kind, says, machine):
    machine(flags, kind)
    runtime, config = load_twin(framework).runtime, preset("smoke", precision=precision)
    with pytest.raises(InputError, match=f"{says}.* Set precision to float32"):
        runtime.configure(config)
    assert runtime.inference_config(config) == preset("smoke", precision="float32")


def test_an_apple_gpu_is_used_where_it_is_asked_for(monkeypatch):
    runtime = load_twin("pt").runtime
    for asked, says in (("mps", "finds no Apple GPU"), ("tpu", "Received: tpu")):
        monkeypatch.setenv("BRAIN_TUMOR_DEVICE", asked)
        with pytest.raises(InputError, match=says):
            runtime.device()
    monkeypatch.setenv("BRAIN_TUMOR_DEVICE", "mps")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert runtime.device() == "mps" and runtime.gpu_name() == hardware.APPLE_GPU
    with pytest.raises(InputError, match="no float64 arithmetic"):
        runtime.configure(preset("smoke", precision="float64"))
    monkeypatch.setenv("BRAIN_TUMOR_DEVICE", "cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert runtime.device() == "cpu" and runtime.gpu_name() is None


@BOTH
@pytest.mark.parametrize(
    "precision, flags, gpu",
    [
        ("bfloat16", {"avx512_bf16"}, None),
        ("bfloat16", {"amx_bf16"}, None),
        ("bfloat16", {"bf16"}, None),
        ("bfloat16", set(), None),  # a machine that does not say
        ("bfloat16", {"avx2"}, "a GPU"),
        ("float16", {"avx2"}, "a GPU"),
        ("float32", {"avx2"}, None),
        ("float64", {"avx2"}, None),
    ],
)
def test_what_the_machine_has_is_used(framework, precision, flags, gpu, machine):
    machine(flags, gpu=gpu)
    runtime, config = load_twin(framework).runtime, preset("smoke", precision=precision)
    runtime.configure(config)
    assert runtime.inference_config(config) == config


@pytest.mark.parametrize(
    "line, flags",
    [
        ("flags\t\t: fpu avx512_bf16\n", {"fpu", "avx512_bf16"}),
        ("Features\t: fp asimd bf16\n", {"fp", "asimd", "bf16"}),
        ("model name\t: unknown\n", set()),
    ],
)
def test_the_flags_of_both_kinds_of_processor_are_read(line, flags, tmp_path, monkeypatch):
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor\t: 0\n{line}")
    monkeypatch.setattr(hardware, "_CPUINFO", listing)
    assert hardware.cpu_flags() == flags


@pytest.mark.parametrize(
    "flags, named",
    [
        ({"sse2", "avx2", "avx512f", "amx_tile"}, "AVX2 AVX512 AMX"),
        ({"asimd", "sve", "bf16"}, "NEON SVE BF16"),
        (set(), None),
    ],
)
def test_a_speeds_machine_names_its_instruction_sets(flags, named, machine):
    machine(flags)
    described = hardware.describe(None)
    assert described["instructions"] == named
    assert (f", {named}, " in hardware.name(described)) == bool(named)
    assert hardware.name(described | {"gpu": "a GPU"}) == "a GPU"
