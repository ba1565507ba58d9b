"""The questions of `driftgate advise` and the answers to them, read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_RULES = Path(__file__).with_name("rules.yaml")
REMEDIES = ("fine_tune", "retrieve")


class AnswerError(ValueError):
    """An answer, or a file of them, that cannot be used; the message names the question."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A possible answer: points for each remedy, a remedy that it rules out, and why."""

    key: str
    label: str
    fine_tune: int = 0
    retrieve: int = 0
    blocks: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its possible answers, by key."""

    id: str
    ask: str
    answers: Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class Rules:
    """All questions, and from how many points on a remedy is recommended."""

    threshold: int
    questions: tuple[Question, ...]


@cache
def rules() -> Rules:
    """Return the rules of `rules.yaml`."""
    import yaml

    data: dict[str, Any] = yaml.safe_load(_RULES.read_text("utf-8"))
    return Rules(data["threshold"], tuple(_question(row) for row in data["questions"]))


def check(given: Mapping[str, object], origin: str) -> dict[str, str]:
    """Return answers by question, in the order of the questions.

    Args:
        given: Keys of answers by ids of questions.
        origin: What errors call their source.

    Raises:
        AnswerError: A question or an answer is not known.
    """
    known = {question.id: question for question in rules().questions}
    for id, answer in given.items():
        if id not in known:
            raise AnswerError(f"{origin}: no question {id!r}; known: {', '.join(known)}")
        # YAML reads `no` as false: the answer `none` is what people mean by it.
        key = "none" if answer is False or answer is None else str(answer)
        if key not in known[id].answers:
            allowed = ", ".join(known[id].answers)
            raise AnswerError(f"{origin}: {id} is {answer!r}, which is not one of {allowed}")
    read = {id: "none" if v is False or v is None else str(v) for id, v in given.items()}
    return {id: read[id] for id in known if id in read}


def read_answers(path: Path) -> dict[str, str]:
    """Read a YAML file of answers by question.

    Raises:
        AnswerError: It cannot be read, or holds something else.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise AnswerError(f"{path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AnswerError(f"{path} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise AnswerError(f"{path} must hold `question: answer` lines")
    return check(data, str(path))


def parse_pair(text: str) -> tuple[str, str]:
    """Read `question=answer`.

    Raises:
        AnswerError: There is no `=` in it.
    """
    question, equals, answer = text.partition("=")
    if not equals:
        raise AnswerError(f"--answer {text!r}: write it as question=answer")
    return question.strip(), answer.strip()


def _question(row: Mapping[str, Any]) -> Question:
    answers = {key: Answer(key, **fields) for key, fields in row["answers"].items()}
    return Question(row["id"], row["ask"], answers)
