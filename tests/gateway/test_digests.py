import hashlib
import os
from pathlib import Path

import pytest

from gateway.digests import FileDigests, Interrupted, differences, size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(3 * 2**20 + 17))
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text('{"a": 1}')
    return folder


@pytest.fixture
def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_as_registered_has_no_differences(folder: Path, digests: dict[str, str]) -> None:
    for name in ("driftgate.json", "release.json", "README.md", ".gitattributes"):
        (folder / name).write_text("beside")
    read: list[int] = []
    assert differences(folder, digests, FileDigests(), read.append) == []
    assert sum(read) == size(folder, digests) == 3 * 2**20 + 17 + 2 + 8


def test_one_changed_byte_is_found(folder: Path, digests: dict[str, str]) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(2**21)
        byte = file.read(1)[0]
        file.seek(2**21)
        file.write(bytes([byte ^ 1]))
    (found,) = differences(folder, digests, FileDigests())
    assert found.startswith("model.safetensors: changed")


def test_missing_and_added_files_are_found(folder: Path, digests: dict[str, str]) -> None:
    (folder / "config.json").unlink()
    (folder / "model-00002.safetensors").write_bytes(b"x")
    assert differences(folder, digests, FileDigests()) == [
        "config.json: missing",
        "model-00002.safetensors: added",
    ]


def test_what_describes_a_model_is_checked_where_it_has_a_digest(
    folder: Path, digests: dict[str, str]
) -> None:
    (folder / "README.md").write_text("card")
    found = differences(folder, digests | {"README.md": "0" * 64}, FileDigests())
    assert [line.split(":")[0] for line in found] == ["README.md"]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_no_file_outside_the_folder_is_read(
    folder: Path, name: str, digests: dict[str, str]
) -> None:
    (folder.parent / "secret").write_text("x")
    found = differences(folder, digests | {name: "0" * 64}, FileDigests())
    assert found == [f"{name}: is no name of a file in the folder"]


def test_a_file_is_read_again_only_when_it_was_written(folder: Path) -> None:
    files, path = FileDigests(), folder / "config.json"
    first = files.of(path)
    stopped: list[bool] = []

    def ask() -> bool:  # asked for each MiB that is read
        stopped.append(True)
        return False

    assert files.of(path, stopped=ask) == first
    assert not stopped
    path.write_text('{"x": 1}')
    assert files.of(path, stopped=ask) == hashlib.sha256(b'{"x": 1}').hexdigest()
    assert stopped


def test_reading_can_be_stopped(folder: Path) -> None:
    read: list[int] = []
    with pytest.raises(Interrupted):
        FileDigests().of(folder / "model.safetensors", read.append, lambda: len(read) == 2)
    assert read == [2**20, 2**20]
