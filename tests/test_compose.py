"""The container files agree with the code and keep their own promises."""

import json
import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main

from gateway.cli import build
from gateway.settings import Settings
from monitoring.settings import MonitorSettings
from tests.composed import (
    COMPOSE,
    DOCKERFILE,
    ENGINES,
    ONCE,
    ROOT,
    SERVICES,
    TEXT,
    WORKERS,
)

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def _commands() -> list[list[str]]:
    found = [service["command"] for service in SERVICES.values() if "command" in service]
    found += [line.split() for line in re.findall(r"#.*(driftgate keys .*)", TEXT)]
    found += [re.findall(r'"([^"]+)"', line) for line in re.findall(r"^CMD (.*)", DOCKERFILE, re.M)]
    return [command for command in found if command[0] == "driftgate"]


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_commands_parse(command: list[str]) -> None:
    group: Any = typer.main.get_command(build())
    arguments = command[1:]
    if arguments == ["--help"]:
        return
    while hasattr(group, "commands"):
        assert arguments, f"{command} names a group"
        assert arguments[0] in group.commands, f"no command {arguments[0]} in {command}"
        group = group.commands[arguments.pop(0)]
    with group.make_context(group.name, arguments):
        pass  # wrong or missing options raise UsageError


def test_all_commands_are_seen() -> None:
    seen = {" ".join(command[1:3]) for command in _commands()}
    assert seen >= {
        "keys create", "db migrate", "gateway", "engines run", "retrieval serve", "monitor run",
        "worker", "models pull",
    }  # fmt: skip


def test_the_file_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests" / "compose_spec" / "compose-spec.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = COMPOSE | {"services": {"gateway": {"image": 3, "comand": []}}}
    assert len(list(validator.iter_errors(broken))) > 0


def test_variables_are_settings() -> None:
    names = set(re.findall(r"\bDRIFTGATE_([A-Z_]+)", TEXT + DOCKERFILE))
    assert names
    known = {*Settings.model_fields, *MonitorSettings.model_fields}
    assert {name.lower().removesuffix("_file") for name in names - {"MONITOR_TOKEN_FILE"}} <= known
    assert "monitor_token_file" in known


@every_service
def test_values_are_valid_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        assert isinstance(value, str), f"{key} is {value!r}: YAML reads it as another type"
        monkeypatch.setenv(key, value)
    MonitorSettings()
    url = Settings().resolved_database_url()
    assert url.startswith("sqlite:///") or "@postgres:5432/" in url
    assert re.search(r"//\w+:", url) is None  # no password


@every_service
def test_hardened(name: str) -> None:
    service = SERVICES[name]
    user = service["user"]
    assert re.fullmatch(r"[1-9]\d*:\d+", user)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices", "env_file"} & set(service)
    assert service.get("network_mode", "none") == "none"
    assert "docker.sock" not in str(service)
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])


@every_service
def test_limited(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[mg]", limits["memory"])
    assert limits["pids"] > 0


@every_service
def test_watched_and_restarted(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)
    if "healthcheck" in service:
        check = service["healthcheck"]
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)
        if check["test"][1] == "python":
            compile(check["test"][3], name, "exec")


@every_service
def test_waits_for_what_exists(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        done = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert wait["condition"] == done


@every_service
def test_images_are_pinned(name: str) -> None:
    repository, _, tag = SERVICES[name]["image"].partition(":")
    assert re.match(r"v?\d+\.\d+", tag), f"{repository} is not pinned"
    if repository.startswith("driftgate-"):
        assert tag == VERSION
        builds = [
            s["build"]
            for s in SERVICES.values()
            if s["image"] == f"{repository}:{tag}" and "build" in s
        ]
        assert len(builds) == 1
        target = builds[0]["target"]
        assert re.search(rf"^FROM \S+ AS {target}$", DOCKERFILE, re.M)
        lock = builds[0].get("args", {}).get("LOCK", "cpu")
        assert (ROOT / "locks" / f"{lock}.txt").is_file()


def test_base_images_are_pinned_and_final_ones_without_root() -> None:
    assert re.search(r"^ARG PYTHON=python:3\.11\.\d+-slim-\w+$", DOCKERFILE, re.M)
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.M)
    names = [stage for _, stage in stages]
    assert {base for base, _ in stages} <= {"${PYTHON}", *names}
    assert names[-1] == "gateway"  # what a plain `docker build` gives
    for text in re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]:
        users = re.findall(r"^USER (\S+)$", text, re.M)
        assert not users or users[-1] == SERVICES["gateway"]["user"]


def test_every_package_is_checked_by_hash() -> None:
    installs = re.findall(r"(?:pip install|uv build)(?:[^\n]*\\\n)*[^\n]*", DOCKERFILE)
    assert len(installs) == 6
    for install in installs:
        assert "--require-hashes" in install or "--no-index /wheel/" in install
    assert "locks/gateway.txt" in DOCKERFILE
    assert "locks/$LOCK.txt" in DOCKERFILE


def test_what_the_gateway_writes_is_a_volume_that_its_user_owns() -> None:
    settings = Settings(home=Path("/data"))
    made = re.search(r"install -d -m 0700 .*\\\n\s+(.*)", DOCKERFILE)
    assert made is not None
    for folder in (settings.run_dir(), settings.files_dir(), settings.spool_dir()):
        mounts = [mount.split(":")[1:] for mount in SERVICES["gateway"]["volumes"]]
        assert [str(folder)] in mounts
        assert str(folder) in made[1].split()
    assert str(settings.indexes_dir()) in made[1].split()
    assert re.search(r"/data/signing$", DOCKERFILE, re.MULTILINE)


def test_the_entry_point_writes_a_private_password_file(tmp_path: Path) -> None:
    secret, target = tmp_path / "secret", tmp_path / "pgpass"
    secret.write_text("0123abcd\n")
    for name in ("migrate", "gateway", "pull-model", "monitor", *ENGINES, *WORKERS):
        service = SERVICES[name]
        assert service["secrets"][0] == "postgres_password"
        assert service["environment"]["PGPASSFILE"].startswith("/tmp/")
        target.unlink(missing_ok=True)
        done = _enter(service["entrypoint"], secret, target)
        assert done.stdout == "a b\n"
        assert target.read_text() == "postgres:5432:driftgate:driftgate:0123abcd\n"
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_the_entry_point_ends_without_a_secret(tmp_path: Path) -> None:
    done = _enter(SERVICES["gateway"]["entrypoint"], tmp_path / "none", tmp_path / "pgpass")
    assert done.returncode != 0
    assert done.stdout == ""


def _enter(entrypoint: list[str], secret: Path, target: Path) -> subprocess.CompletedProcess[str]:
    shell = [part.replace("$$", "$") for part in entrypoint]
    assert "/run/secrets/postgres_password" in shell[2]
    shell[2] = shell[2].replace("/run/secrets/postgres_password", str(secret))
    return subprocess.run(
        [*shell, "echo", "a b"],
        env={"PATH": os.environ["PATH"], "PGPASSFILE": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_secrets_come_from_files_that_git_ignores() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert ".driftgate/" in ignored
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./.driftgate/secrets/")
    for service in SERVICES.values():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or value.startswith("/run/secrets/")


@every_service
def test_volumes_exist(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source = volume.split(":")[0]
        if source.startswith("./"):
            assert (ROOT / source).exists()
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
