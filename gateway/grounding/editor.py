"""What the relay knows of grounding: an editor of engines' answers, and the stage itself."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.auth import Principal
    from gateway.task import Task


class AskAgain(Exception):
    """Raised by an editor: the answer is not good enough to be shown, another is asked for."""


class Editor(Protocol):
    """Stands between the engine's answer and the client."""

    def begin(self) -> None:
        """A stream begins, for the first time or on another engine."""

    def frames(self, data: bytes) -> bytes:
        """Take whole frames of the engine, return the frames that go to the client now."""

    def whole(self, answer: bytes) -> bytes:
        """Take a whole answer of the engine, return the client's."""


class Grounding(Protocol):
    """The stage.

    Attributes:
        everywhere: Whether there are policies, so that requests that say nothing are concerned too.
    """

    everywhere: bool

    async def answer(
        self, task: "Task", principal: "Principal", forward: "Callable[[Task], Awaitable[None]]"
    ) -> None:
        """Answer a request; `forward` lets an engine answer the task as it is then."""
