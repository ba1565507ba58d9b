"""What every answerer takes and gives. One file per kind beside this one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class AnswererError(Exception):
    """A system cannot be asked at all: no such model, key or folder, or nobody answers."""


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt, as chat messages (dicts of role and content), and how long its answer may be."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn: the same for all systems that are compared."""

    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system said to one question, or why it said nothing.

    Args:
        id: The question's.
        text: The answer; empty where `error` says why there is none.
        finish: Why it ended, in OpenAI's words (`stop`, `length`, …).
        latency_s: Seconds from the request to the end of the answer; for a model in this process,
            those of the batch that it was in.
        ttft_s: Seconds to the first token, where the answer was streamed.
        prompt_tokens, completion_tokens: As the system counts them, where it does.
        error: What went wrong; such an answer is never scored.
    """

    id: str
    text: str = ""
    finish: str = ""
    latency_s: float | None = None
    ttft_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


class Answerer(Protocol):
    """A system that answers questions."""

    @property
    def served(self) -> bool:
        """Whether latencies are those that a client of a server would see."""

    @property
    def fingerprint(self) -> str:
        """What the answers depend on besides the question: endpoint, model, files."""

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield one answer a question, as they come, in any order.

        Raises:
            AnswererError: No question can be answered.
        """


@dataclass(frozen=True, slots=True)
class System:
    """A system under evaluation: a name, where it is, and what it is asked with.

    Args:
        name: `candidate`, `baseline`, `judge`, or any name for people.
        spec: `http://host:port/v1#model`, a model folder, or `folder+adapter folder`.
        key_env: The environment variable that holds the API key; empty for none.
        extra_body: Further fields of each request to an endpoint, such as `{"retrieval": …}`.
    """

    name: str
    spec: str
    key_env: str = ""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
