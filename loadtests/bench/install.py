"""Installs the peers, each where nothing else can see it, once; from the package registries.

A stamp file holds what was installed: another version in `peers.py` installs again.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench.process import ROOT, StartFailed, without_root

FOLDER = ROOT / ".driftgate" / "bench"
_TIMEOUT_S = 900.0


def python_environment(name: str, requirement: str) -> Path:
    """Return the `bin` folder of a virtual environment that holds one exact requirement.

    Raises:
        StartFailed: It could not be installed.
    """
    folder = FOLDER / f"venv-{name}"
    if not _installed(folder, requirement):
        print(f"installing {requirement} …", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "bin" / "python"
        _run([sys.executable, "-m", "venv", "--without-pip", folder])
        _run([_uv(), "pip", "install", "--quiet", "--python", python, requirement])
        _stamp(folder, requirement)
    return folder / "bin"


def node_packages(name: str, *requirements: str) -> Path:
    """Return the `node_modules` folder that holds exact requirements.

    Raises:
        StartFailed: npm is missing, or it could not be installed.
    """
    folder, wanted = FOLDER / name, " ".join(requirements)
    if not _installed(folder, wanted):
        print(f"installing {wanted} …", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # Nothing that a package wants to run at installation is needed here; --legacy-peer-deps:
        # the exact versions asked for win over what packages would like beside them.
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        flags = ["--ignore-scripts", "--legacy-peer-deps", *quiet]
        _run(["npm", "install", "--prefix", folder, *flags, *requirements])
        _stamp(folder, wanted)
    return folder / "node_modules"


def _uv() -> Path:
    return Path(sys.executable).parent / "uv"


def _installed(folder: Path, requirement: str) -> bool:
    stamp = folder / ".installed"
    return stamp.is_file() and stamp.read_text() == requirement


def _stamp(folder: Path, requirement: str) -> None:
    (folder / ".installed").write_text(requirement)


def _run(command: Sequence[str | Path]) -> None:
    environment = dict(os.environ)
    if find_links := environment.get("PIP_FIND_LINKS"):
        environment.setdefault("UV_FIND_LINKS", find_links)  # uv does not read pip's settings
    environment.pop("VIRTUAL_ENV", None)
    program = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except OSError as error:
        raise StartFailed(f"cannot install: {program}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise StartFailed(f"cannot install: {program} took over {_TIMEOUT_S:g} s") from error
    if done.returncode:
        lines = without_root(done.stderr or done.stdout).strip().splitlines()
        reason = " / ".join(lines[-3:])
        raise StartFailed(f"cannot install: {program}: {reason}")
