"""The shape of the code: file sizes, what the gateway's path imports, nothing private committed."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
_HEAVY = ("torch", "transformers", "vllm", "peft", "trl", "evidently", "sentence_transformers")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_files_stay_readable() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in _tracked("*.py")}
    assert {path: n for path, n in sizes.items() if n > 350} == {}
    assert statistics.median(sizes.values()) < 200


def test_the_gateways_path_loads_nothing_heavy() -> None:
    code = f"import gateway.app, sys; print([m for m in {_HEAVY!r} if m in sys.modules])"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - started < 20


def test_no_home_folder_and_no_registry_is_named() -> None:
    private = re.compile(r"/(?:root|home/[a-z]+|opt/wheels)/|(?:pypi|pythonhosted)\.org")
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in _tracked()
        if path.suffix in (".py", ".toml", ".txt", ".md", ".yml", ".yaml", ".sh", "")
        and path != Path(__file__)
        and (match := private.search(path.read_text(errors="replace")))
    }
    assert found == {}
