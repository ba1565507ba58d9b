"""The dashboards are those of the code, and each panel says what it shows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.store.engines import EngineState
from gateway.store.health import STATES
from grafana.build import FOLDER, texts
from grafana.panels import ENGINE_STATES, HEALTH_STATES

_ROOT = Path(__file__).parents[2]
_TITLES = {
    "serving": "Serving",
    "quality": "Quality and drift",
    "rollout": "Rollout and training",
    "cost": "Cost and keys",
}


def _boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def _panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


_BOARDS = _boards()
each_board = pytest.mark.parametrize("board", _BOARDS.values(), ids=_BOARDS.keys())


def test_the_files_are_what_the_code_makes() -> None:
    made = texts()
    assert set(made) == set(FOLDER.iterdir())
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name}: run python -m grafana.build --write"


def test_the_four_dashboards_are_there() -> None:
    assert {name: board["title"] for name, board in _BOARDS.items()} == _TITLES
    assert len({board["uid"] for board in _BOARDS.values()}) == 4


@each_board
def test_each_panel_says_what_it_shows_in_what_unit(board: dict[str, Any]) -> None:
    panels = _panels(board)
    assert 8 <= len(panels) <= 14
    for panel in panels:
        title = panel["title"]
        assert len(panel["description"]) > 5, title
        if panel["type"] != "state-timeline":
            assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["targets"], title
        if panel["type"] == "timeseries":
            assert all(target["legendFormat"] for target in panel["targets"]), title
            assert panel["options"]["legend"]["showLegend"], title


@each_board
def test_panels_have_ids_of_their_own_and_fill_the_grid(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@each_board
def test_each_query_reads_the_one_data_source_and_known_variables(board: dict[str, Any]) -> None:
    source = yaml.safe_load(
        (_ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"][0]
    known = {each["name"] for each in board["templating"]["list"]}
    known |= {"__rate_interval", "__range"}
    queries = [target for panel in _panels(board) for target in panel["targets"]]
    for query in [*queries, *board["annotations"]["list"]]:
        assert query["datasource"] == {"type": "prometheus", "uid": source["uid"]}
        used = set(re.findall(r"\$\{?(\w+)", query["expr"]))
        assert used <= known, query["expr"]
    refs = [[target["refId"] for target in panel["targets"]] for panel in _panels(board)]
    assert all(len(set(each)) == len(each) for each in refs)


@each_board
def test_alias_and_release_can_be_chosen_and_are_all_at_first(board: dict[str, Any]) -> None:
    chosen = {each["name"]: each for each in board["templating"]["list"]}
    for name in ("alias", "release"):
        assert chosen[name]["current"]["value"] == "$__all"
        assert chosen[name]["multi"]
        expressions = " ".join(t["expr"] for p in _panels(board) for t in p["targets"])
        assert f"${name}" in expressions


@each_board
def test_moves_of_aliases_and_alarms_are_marked(board: dict[str, Any]) -> None:
    marks = {mark["name"]: mark["expr"] for mark in board["annotations"]["list"]}
    assert "driftgate_alias_changed_timestamp_seconds" in marks["Releases"]
    assert marks["Alarms"].startswith("ALERTS{")


def test_evidence_is_shown_on_a_logarithmic_scale_with_its_threshold() -> None:
    for title in ("Evidence of drift", "Evidence of harm"):
        (panel,) = [p for p in _panels(_BOARDS["quality"]) if p["title"] == title]
        custom = panel["fieldConfig"]["defaults"]["custom"]
        assert custom["scaleDistribution"] == {"type": "log", "log": 10}
        assert [target["legendFormat"] for target in panel["targets"]][1] == "alarms at"
        links = panel["fieldConfig"]["defaults"]["links"]
        assert "/reports/latest?alias=" in links[0]["url"]


def test_the_provider_reads_a_folder_that_is_not_changed_in_grafana() -> None:
    folder = _ROOT / "grafana" / "provisioning" / "dashboards"
    (provider,) = yaml.safe_load((folder / "driftgate.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    assert provider["allowUiUpdates"] is False


def test_every_state_has_a_name_and_a_colour() -> None:
    assert set(HEALTH_STATES) == set(STATES)
    assert set(ENGINE_STATES) == {state.value for state in EngineState}
    for board, title, states in (
        ("quality", "Health over time", HEALTH_STATES),
        ("rollout", "Health over time", HEALTH_STATES),
        ("serving", "Slots", ENGINE_STATES),
    ):
        (panel,) = [p for p in _panels(_BOARDS[board]) if p["title"] == title]
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        for number, (state, color) in enumerate(states.items()):
            assert mapping["options"][str(number)]["text"] == state
            assert mapping["options"][str(number)]["color"] == color
            assert f"{number} * driftgate_" in panel["targets"][0]["expr"]
            assert f'state="{state}"' in panel["targets"][0]["expr"]
