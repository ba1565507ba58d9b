"""The documents are true: tables equal the code, links and names exist, figures parse."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
_DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readmes_tables_are_the_codes() -> None:
    readme = (ROOT / "README.md").read_text()
    assert _reference().updated(readme) == readme, "run `make reference`"


def test_a_changed_default_would_be_noticed() -> None:
    readme = (ROOT / "README.md").read_text()
    assert _reference().updated(readme.replace("`8080` |", "`8081` |")) == readme


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_links_and_variables_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link
    reference = _reference()
    fields = {*reference.Settings.model_fields, *reference.MonitorSettings.model_fields}
    for variable in re.findall(r"DRIFTGATE_([A-Z_]+)", text):
        assert variable == "API_KEY" or variable.lower() in fields, variable
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_metrics_in_the_readme_are_the_gateways() -> None:
    readme = (ROOT / "README.md").read_text()
    files = sorted((ROOT / "gateway").glob("*metrics.py"))
    source = "".join(path.read_text() for path in files)
    named = set(re.findall(r'"((?:driftgate|gen_ai_(?:client|server))_[a-z_]+)"', source))
    shown = set(re.findall(r"`((?:driftgate|gen_ai_(?:client|server))_[a-z_]+)`", readme))
    assert {name.removesuffix("_total") for name in shown} == named


@pytest.mark.parametrize("package", ["gateway", "monitoring", "training"])
def test_the_tree_in_architecture_is_the_code(package: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    tree = re.search(rf"^{package}/\n((?:  .*\n)+)", text, re.MULTILINE)
    assert tree is not None
    shown = set(re.findall(r"^  ([a-z_]+\.py) ", tree[1], re.MULTILINE))
    found = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    assert shown == found


def test_the_picture_is_well_formed() -> None:
    ElementTree.parse(ROOT / "docs" / "loop.svg")


def test_make_help_lists_every_target() -> None:
    outside = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, env=outside, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert {line.split()[0] for line in shown.splitlines()} == set(phony[1].split())
