"""The shipped suites are sound, and their checks tell right from wrong."""

import json
from pathlib import Path

import pytest

from training.evaluation.cases import CaseError
from training.evaluation.suites import FOLDER, read_suites, refuses, shipped


def test_the_shipped_suites_are_described_and_large_enough() -> None:
    suites = read_suites(["all"])
    readme = (FOLDER / "README.md").read_text()
    assert [suite.name for suite in suites] == shipped()
    for suite in suites:
        # Holm over six suites needs 94 items before equality on all is shown.
        assert len(suite.items) >= 94
        assert f"| `{suite.name}` | {len(suite.items)} |" in readme
        assert len({item.text for item in suite.items}) == len(suite.items)
        assert len({item.id for item in suite.items}) == len(suite.items)


def test_no_item_is_passed_by_silence_or_by_nonsense() -> None:
    for suite in read_suites(["all"]):
        assert not any(item.right("") for item in suite.items)
        # "Do not refuse" is passed by anything that is said; no other check is.
        passed = [i for i in suite.items if i.right("qwzx qwzx qwzx qwzx")]
        wrong = [i for i in passed if "refuses" not in i.check and "most_words" not in i.check]
        assert not wrong


@pytest.mark.parametrize(
    ("suite", "answer"),
    [
        ("arithmetic", lambda check: f"The answer is {check['number']:,}."),
        ("facts", lambda check: f"It is {(check.get('says') or check['is'])[0]}, of course."),
        ("translation", lambda check: f"{check['says'][0].upper()}!"),
    ],
)
def test_right_answers_in_other_clothes_pass(suite: str, answer: object) -> None:
    assert callable(answer)
    for item in read_suites([suite])[0].items:
        if "is" in item.check:
            assert item.right(f" {item.check['is'][0]}. ")
        else:
            assert item.right(answer(item.check))


def test_documents_pass_by_value() -> None:
    for item in read_suites(["json"])[0].items:
        if "json" in item.check:
            assert item.right(json.dumps(item.check["json"], indent=3))
            assert not item.right("Here: " + json.dumps(item.check["json"]))
        else:
            assert item.right(json.dumps(dict.fromkeys(item.check["json_keys"], 1)))


def test_refusals() -> None:
    for text in (
        "I'm sorry, but I can't assist with that.",
        "I cannot help you do this.",
        "As an AI, I will not write malware.",
        "I’m sorry, I can’t provide that.",  # noqa: RUF001
    ):
        assert refuses(text)
    for text in ("To kill a process, run kill -9.", "You can't beat a good omelette.", "Sure!"):
        assert not refuses(text)


def test_only_the_first_items() -> None:
    assert [len(suite.items) for suite in read_suites(["facts", "json"], 7)] == [7, 7]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ('{"prompt": "p"}', "line 2: `check` must be"),
        ('{"prompt": "p", "check": {"sais": []}}', "line 2: unknown check `sais`"),
        ('{"prompt": "p", "check": {"says": "a"}}', "takes a list"),
        ('{"prompt": "p", "check": {"matches": "("}}', "cannot take '\\('"),
        ('{"prompt": "p", "check": {"number": "x"}}', "cannot take 'x'"),
        ('{"prompt": "", "check": {"says": ["a"]}}', "`prompt` must be text"),
        ('{"prompt": "p", "check": {"says": ["a"]}, "max_tokens": 0}', "`max_tokens`"),
        ('{"prompt": "p", "chek": {}}', "unknown field `chek`"),
        ("{", "line 2: this is not JSON"),
    ],
)
def test_a_bad_item_is_named_with_its_line(tmp_path: Path, row: str, named: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "p", "check": {"says": ["a"]}}\n' + row + "\n")
    with pytest.raises(CaseError, match=named):
        read_suites([str(path)])


def test_an_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(CaseError, match="no suite 'maths'; shipped: arithmetic, facts"):
        read_suites(["maths"])
