import stat
from pathlib import Path

import pytest

from gateway.engines.base import (
    EngineSpec,
    child_environment,
    engine_addresses,
    listen_arguments,
    private_folder,
)
from tests.gateway.engines.fakes import FakeKind, make_release


def test_addresses_become_listen_arguments() -> None:
    private = engine_addresses(Path("/run/x"), "", 8101)
    assert listen_arguments(private["green"]) == ["--uds", "/run/x/engine-green.sock"]
    public = engine_addresses(Path("/run/x"), "::1", 8101)
    assert public == {"blue": "http://[::1]:8101", "green": "http://[::1]:8102"}
    assert listen_arguments(public["green"]) == ["--host", "::1", "--port", "8102"]


@pytest.mark.parametrize("address", ["", "host:1", "http://host", "http://:1", "http://h:x"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        listen_arguments(address)


def test_a_folder_for_sockets_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(PermissionError):
        private_folder(link)


def test_an_engine_sees_neither_dev_mode_nor_the_gateways_settings(tmp_path: Path) -> None:
    spec = EngineSpec(make_release("m-1"), "blue", "unix:/x", tmp_path / "log")
    inherited = {
        "PATH": "/bin",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_API_KEY": "k",
        "DRIFTGATE_DATABASE_URL": "postgresql://u:secret@h/d",
    }
    found = child_environment(FakeKind(tmp_path), spec, inherited)
    assert found == {"PATH": "/bin", "FAKE": "m-1"}
