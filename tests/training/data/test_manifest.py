import json
from pathlib import Path

import pytest

from training.data import manifest
from training.data.manifest import Manifest, ManifestError


def made(folder: Path) -> Manifest:
    (folder / "train.jsonl").write_text("{}\n")
    (folder / "valid.jsonl").write_text("")
    records = tuple(
        manifest.record(folder / name, rows)
        for name, rows in (("train.jsonl", 1), ("valid.jsonl", 0))
    )
    found = Manifest(records, filters={"rows": 1}, time_range=(1.0, 2.5), created_at=3.0)
    found.write(folder)
    return found


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert manifest.read(tmp_path) == found
    assert found.verify(tmp_path) == []
    assert json.loads((tmp_path / manifest.NAME).read_text())["digest"] == found.digest()
    assert not list(tmp_path.glob(".*"))


def test_the_file_that_changed_is_named(tmp_path: Path) -> None:
    found = made(tmp_path)
    (tmp_path / "train.jsonl").write_text("{ }\n")
    (tmp_path / "valid.jsonl").unlink()
    changed, missing = found.verify(tmp_path)
    assert "train.jsonl: the file has changed" in changed
    assert "valid.jsonl: the file is missing" in missing


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / manifest.NAME
    path.write_text(path.read_text().replace('"rows": 1', '"rows": 2'))
    with pytest.raises(ManifestError, match="was edited"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"digest": "x"}', '{"digest": 1, "files": [{}]}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.NAME).write_text(text)
    with pytest.raises(ManifestError, match=r"manifest\.json: this is no manifest"):
        manifest.read(tmp_path)
    with pytest.raises(ManifestError, match="there is no such file"):
        manifest.read(tmp_path / "absent")


def test_the_digest_names_the_data_not_the_hour(tmp_path: Path) -> None:
    found = made(tmp_path)
    later = Manifest(found.files, filters={"rows": 1}, time_range=(1.0, 2.5), created_at=9.0)
    assert later.digest() == found.digest()
    assert Manifest(found.files[:1]).digest() != found.digest()
