"""`driftgate compare`, on a store of its own; what is asked of a gateway is asked of a stub."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.rating.desk import Desk, Sheet
from gateway.store.comparisons import Comparisons
from gateway.store.database import Database
from gateway.store.raters import Raters
from gateway.store.releases import Release, Releases, Target
from gateway.store.rollouts import Rollout, Rollouts
from training.commands.compare import app
from training.comparing import Both, ask_both

_MARK = {"always": ", as the page says. [1]", "off": "", None: ""}


@pytest.fixture
def database(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "PORT", "WORKER_GATEWAY_URL"):
        monkeypatch.delenv(f"DRIFTGATE_{name}", raising=False)
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "220")
    (tmp_path / "driftgate.db").write_bytes(empty_store.read_bytes())
    opened = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    releases = Releases(opened)
    for id in ("m-1", "m-2"):
        releases.register(Release(id, "m", "r", "", {}, 1.0))
    releases.point("production", [Target("m-1", 1.0, "live")])
    yield opened
    opened.close()


def ran(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def _items(count: int) -> Path:
    path = Path("items.jsonl")
    rows = [{"prompt": f"q{n}", "baseline": f"{n} OLD", "candidate": f"{n} NEW"}
            for n in range(count)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _made(*options: str, count: int = 3) -> str:
    status, told, wrong = ran(
        "create", "production", "--candidate", "m-2", "--items", str(_items(count)), *options
    )
    assert status == 0, wrong
    return told.strip()


def _rate(database: Database, id: str, name: str) -> None:
    raters, desk = Raters(database), Desk(database)
    invite = raters.begin(raters.invite(id, name, by="ada")[0])
    comparison = Comparisons(database).get(id)
    assert comparison is not None
    while isinstance(sheet := desk.look(comparison, invite), Sheet):
        said = "left" if "NEW" in sheet.left else "right"
        desk.say(comparison, invite, sheet.place, said, {}, "=1")


def test_from_a_file_to_a_verdict(database: Database) -> None:
    id = _made("--margin", "0.2", "--criterion", "tone", "--keep-open", count=10)
    made = Comparisons(database).get(id)
    assert made is not None
    assert (made.baseline, made.candidate, made.alias) == ("m-1", "m-2", "production")
    assert (made.margin, made.criteria, made.stops_early) == (0.2, ["tone"], False)
    assert "Nobody has voted yet" in ran("show", id)[1]
    for name in ("Ada", "Bob", "Cy"):
        _rate(database, id, name)
    shown = ran("show", id)[1]
    assert "PASS: m-2 is " in shown
    assert "Ada" in shown
    assert json.loads(ran("show", id, "--json")[1])["standing"]["decided"] == 10
    assert "10 of 10" in ran("list")[1]
    assert ran("close", id, "--reason", "enough")[1] == f"{id} takes no more votes.\n"
    assert json.loads(ran("list", "--json")[1])[0]["closed_why"] == "enough"
    assert "seed" not in ran("list", "--json")[1]
    lines = ran("export", id)[1].splitlines()
    assert len(lines) == 30
    assert json.loads(lines[0])["consensus"] == "candidate"
    assert ran("export", id, "--format", "csv", "--out", "votes.csv")[0] == 0
    with open("votes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["note"] for row in rows} == {"'=1"}


def test_links_are_printed_once_and_withdrawn(database: Database) -> None:
    id = _made()
    status, told, _ = ran("invite", id, "Ada", "Bob", "--url", "https://x.example/", "--days", "2")
    assert status == 0
    links = dict(line.split("\t") for line in told.splitlines())
    assert set(links) == {"Ada", "Bob"}
    assert links["Ada"].startswith("https://x.example/compare/")
    invite = Raters(database).by_token(links["Ada"].rsplit("/", 1)[1])
    assert invite is not None
    assert invite.expires_at - invite.created_at == pytest.approx(2 * 86_400)
    assert links["Ada"].rsplit("/", 1)[1] not in ran("show", id, "--json")[1]
    assert ran("revoke", invite.id)[0] == 0
    assert "revoked" in ran("show", id)[1]
    ran("close", id)
    assert "takes no votes" in ran("invite", id, "Cy")[2]


def test_the_candidate_is_that_of_the_rollout(database: Database) -> None:
    status, _, told = ran("create", "production", "--items", str(_items(1)))
    assert (status, "name the release" in told) == (2, True)
    Rollouts(database).add(Rollout("rlt-1", "production", "m-2", "m-1", {}))
    status, told, _ = ran("create", "production", "--items", str(_items(1)), "--json")
    assert status == 0
    assert json.loads(told)["candidate"] == "m-2"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "nobody", "--candidate", "m-2"], "There is no alias 'nobody'"),
        (["create", "production", "--candidate", "m-9"], "There is no release 'm-9'"),
        (["create", "production", "--candidate", "m-2"], "Nothing was asked of 'production'"),
        (["create", "production", "--candidate", "m-2", "--shadow"], "There is nothing to compare"),
        (["create", "production", "--candidate", "m-2", "--items", "no.jsonl"], "no.jsonl"),
        (["create", "production", "--candidate", "m-2", "--items", "bad.jsonl"],
         "bad.jsonl, line 2: `candidate` must be a text"),
        (["create", "production", "--candidate", "m-2", "--items", "items.jsonl", "--raters", "2"],
         "`raters` is from 3 to 25"),
        (["create", "production", "--candidate", "m-1", "--items", "items.jsonl"],
         "`candidate` must be another"),
        (["create", "production", "--items", "items.jsonl", "--shadow"], "Give one of"),
        (["create", "production", "--documents", "--candidate", "m-2"], "not with --candidate"),
        (["show", "cmp-0"], "There is no comparison 'cmp-0'"),
        (["revoke", "inv-0"], "There is no invite 'inv-0'"),
        (["export", "cmp-0", "--format", "xlsx"], "--format is one of jsonl, csv"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_why(database: Database, arguments: list[str], said: str) -> None:
    _items(2)
    good = '{"prompt": "?", "baseline": "a", "candidate": "b"}\n'
    Path("bad.jsonl").write_text(good + '{"prompt": "?", "baseline": "a"}\n')
    status, _, told = ran(*arguments)
    assert status == 2
    assert said in told
    assert Comparisons(database).page() == ([], False)


def test_questions_are_asked_of_both(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Asker:
        def __init__(self, *arguments: Any, **named: Any) -> None:
            asked.append((arguments[2], named["like"]))

        def __enter__(self) -> "Asker":
            return self

        def __exit__(self, *_: object) -> None:
            return

        def ask_many(self, questions: Any, concurrency: int = 4) -> list[Any]:
            from training.asking import Asked

            return [Asked(f"{q.model} says {q.messages[0]['content']}{_MARK.get(q.retrieval, '')}",
                          200, q.model, 0.1) for q in questions]  # fmt: skip

    monkeypatch.setattr("training.commands.compare.GatewayAsker", Asker)
    Path("q.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n{"prompt": "three"}\n')
    status, told, _ = ran(
        "create", "production", "--candidate", "m-2", "--questions", "q.jsonl", "--count", "2"
    )
    assert status == 0
    items = Comparisons(database).items(told.strip())
    assert sorted(item.candidate for item in items) == ["m-2 says one", "m-2 says two"]
    assert asked == [("compare m-2", "production")]
    assert isinstance(ask_both(Asker(0, 0, "", like=""), [], "m-1", "m-2"), Both)

    asked_of_it = ("create", "production", "--questions", "q.jsonl", "--documents", "--json")
    status, told, _ = ran(*asked_of_it)
    assert status == 0
    made = json.loads(told)
    assert (made["baseline"], made["candidate"]) == ("m-1", "m-1 with documents")
    said = {(item.baseline, item.candidate) for item in Comparisons(database).items(made["id"])}
    assert ("m-1 says one", "m-1 says one, as the page says.") in said  # no marker tells which
