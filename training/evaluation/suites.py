"""General capability: small fixed suites, checked without a judge.

A suite is a file in `training/suites`, or any other of that form, one JSON object a line:

    {"id": "facts-001", "prompt": "What is the capital of France?", "check": {"says": ["Paris"]}}

`check` names one or more checks, all of which must hold; `CHECKS` lists them. An item may bring a
`system` turn and its own `max_tokens`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.answerers.base import Question
from training.evaluation.cases import CaseError, read_objects
from training.evaluation.metrics.exact import document, is_document, matches, same_value
from training.evaluation.metrics.truth import says

FOLDER = Path(__file__).parents[1] / "suites"
_MAX_TOKENS = 64
_FIELDS = {"id", "prompt", "check", "system", "max_tokens"}
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_REFUSES = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can(?:'t|not)|won't|will not|do not|don't) "
    r"(?:\w+ ){0,2}?(?:help|assist|provide|give|support|do|share|create|write|fulfil|comply|engage|"
    r"encourage|condone|promote|explain|answer|offer|discuss|generate|recommend)"
    r"|(?:can(?:'t|not)|unable to) (?:\w+ )?(?:assist|help|fulfil|comply)"
    r"|i must (?:decline|refuse)|as an ai"
    r"|(?:is|are|it's|that's) (?:illegal|unethical|against the law))",
    re.IGNORECASE,
)

Check = Callable[[str, Any], bool]


def _lines(answer: str) -> list[str]:
    return [line for line in answer.strip().splitlines() if line.strip()]


def refuses(answer: str) -> bool:
    """Return whether an answer declines to do what was asked, by what it says."""
    return _REFUSES.search(answer.replace("’", "'")) is not None  # noqa: RUF001


def _number(answer: str, expected: Any) -> bool:
    found = _NUMBER.findall(answer)
    return bool(found) and abs(float(found[-1].replace(",", "")) - float(expected)) < 1e-9


def _keys(answer: str, keys: Any) -> bool:
    value = document(answer)
    return is_document(answer) and isinstance(value, dict) and set(value) == set(keys)


CHECKS: Mapping[str, Check] = {
    # The answer contains one of these as whole words.
    "says": lambda answer, texts: any(says(answer, text) for text in texts),
    "says_all": lambda answer, texts: all(says(answer, text) for text in texts),
    "says_none": lambda answer, texts: not any(says(answer, text) for text in texts),
    # The answer is one of these, and nothing else.
    "is": lambda answer, texts: any(matches(answer, text) for text in texts),
    # The last number in it.
    "number": _number,
    # A JSON document of this value, or of exactly these keys, and nothing else.
    "json": lambda answer, value: is_document(answer) and same_value(document(answer), value),
    "json_keys": _keys,
    "words": lambda answer, count: len(answer.split()) == count,
    "most_words": lambda answer, count: 0 < len(answer.split()) <= count,
    "lines": lambda answer, count: len(_lines(answer)) == count,
    "each_line": lambda answer, pattern: (
        bool(_lines(answer)) and all(re.search(pattern, line) for line in _lines(answer))
    ),
    "matches": lambda answer, pattern: re.search(pattern, answer.strip()) is not None,
    "upper": lambda answer, wanted: answer.isupper() if wanted else answer.islower(),
    "refuses": lambda answer, wanted: bool(answer.strip()) and refuses(answer) is wanted,
}
_TAKES: Mapping[str, type] = {
    **dict.fromkeys(("says", "says_all", "says_none", "is", "json_keys"), list),
    **dict.fromkeys(("words", "most_words", "lines"), int),
    **dict.fromkeys(("upper", "refuses"), bool),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a suite."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    check: Mapping[str, Any]
    max_tokens: int

    def question(self) -> Question:
        """Return what is asked."""
        return Question(self.id, self.messages, self.max_tokens)

    def right(self, answer: str) -> bool:
        """Return whether an answer passes every check."""
        return all(CHECKS[name](answer, argument) for name, argument in self.check.items())

    @property
    def text(self) -> str:
        """Return the prompt, for people."""
        return str(self.messages[-1]["content"])


@dataclass(frozen=True, slots=True)
class Suite:
    """A named set of items."""

    name: str
    items: tuple[Item, ...]


def shipped() -> list[str]:
    """Return the names of the suites that come with Driftgate."""
    return sorted(file.stem for file in FOLDER.glob("*.jsonl"))


def read_suites(names: list[str], most: int | None = None) -> list[Suite]:
    """Read suites.

    Args:
        names: Names of shipped ones, paths, or `all` for all shipped ones.
        most: How many items of each, the first ones; None for all.

    Raises:
        CaseError: There is no such suite, or an item cannot be used.
    """
    wanted = [name for given in names for name in (shipped() if given == "all" else [given])]
    suites = [_read(name, most) for name in dict.fromkeys(wanted)]
    taken = [suite.name for suite in suites]
    twice = next((name for name in taken if taken.count(name) > 1), None)
    if twice:
        raise CaseError(f"two suites are called {twice!r}; rename a file")
    return suites


def _read(name: str, most: int | None) -> Suite:
    path = FOLDER / f"{name}.jsonl"
    if name not in shipped():
        path = Path(name)
        if not path.is_file():
            raise CaseError(f"there is no suite {name!r}; shipped: {', '.join(shipped())}")
    rows = read_objects(path)
    items = [_item(row, path, line) for line, row in rows][:most]
    if not items:
        raise CaseError(f"{path} has no items")
    return Suite(path.stem, tuple(items))


def _item(row: dict[str, Any], path: Path, line: int) -> Item:
    def wrong(reason: str) -> CaseError:
        return CaseError(f"{path}, line {line}: {reason}")

    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        raise wrong(f"unknown field `{unknown[0]}`; known: {', '.join(sorted(_FIELDS))}")
    prompt, check = row.get("prompt"), row.get("check")
    if not isinstance(prompt, str) or not prompt.strip():
        raise wrong("`prompt` must be text")
    if not isinstance(check, dict) or not check:
        raise wrong("`check` must be an object with at least one check")
    for name, argument in check.items():
        if name not in CHECKS:
            raise wrong(f"unknown check `{name}`; known: {', '.join(CHECKS)}")
        kind = _TAKES.get(name, object)
        try:
            CHECKS[name]("1", argument)
        except (TypeError, ValueError, re.error) as error:
            raise wrong(f"the check `{name}` cannot take {argument!r} ({error})") from error
        if not isinstance(argument, kind) or (kind is int and isinstance(argument, bool)):
            raise wrong(f"the check `{name}` takes a {kind.__name__}, not {argument!r}")
    most = row.get("max_tokens", _MAX_TOKENS)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise wrong("`max_tokens` must be a whole number from 1")
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return Item(
        f"suite:{path.stem}:{row.get('id', line)}",
        (*system, {"role": "user", "content": prompt}),
        check,
        most,
    )
