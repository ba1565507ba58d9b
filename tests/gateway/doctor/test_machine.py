"""What is told of a machine."""

from pathlib import Path

import pytest

from gateway.doctor import machine


@pytest.mark.parametrize(
    ("flags", "state", "found"),
    [
        ("fpu sse avx2", "ok", "avx2"),
        ("avx512f avx2 amx_bf16", "ok", "avx2, avx512f, amx_bf16"),
        ("fpu sse avx", "fail", "no avx2"),
    ],
)
def test_the_engine_needs_avx2(tmp_path: Path, flags: str, state: str, found: str) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    seen = machine.cpu_flags(file)
    assert (seen.state, seen.found) == (state, found)
    assert bool(seen.todo) == (state == "fail")


def test_memory_is_held_against_the_kv_cache(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 8388608 kB\nMemAvailable: 5242880 kB\n")
    assert machine.memory(file, 1.0).state == "ok"
    short = machine.memory(file, 4.0)
    assert (short.state, short.found) == ("warn", "5.0 of 8.0 GiB free")
    assert "DRIFTGATE_KV_CACHE_GIB" in short.todo
    assert machine.memory(tmp_path / "none", 1.0).state == "warn"


def test_a_card_whose_driver_does_not_answer_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu().found == "none"
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Driver mismatch' >&2\nexit 9\n")
    program.chmod(0o755)
    assert machine.gpu().state == "fail"
    assert "Driver mismatch" in machine.gpu().found
    program.write_text("#!/bin/sh\necho 'H200, 143771 MiB, 570.1'\n")
    assert machine.gpu().state == "ok"


def test_disk_is_that_of_the_folder_to_be(tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    assert str(home) in machine.disk(home).found
