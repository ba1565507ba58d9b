"""What a client has sent ahead of the answers that it waits for (HTTP pipelining, RFC 9112, 9.3.2).

Answers go out in the order of the requests. While any request waits for its turn nothing more is
read, so what a client sends ahead stays in the kernel, not in this process.
"""

from collections import deque
from typing import Any, TypeAlias

from uvicorn.protocols.http.flow_control import FlowControl

from gateway.call import Call

# One read can hold some thousands of small requests; a client with more than these is sent away.
_MOST = 1000
Waiting: TypeAlias = Call | tuple[Any, Any]  # a hot call, or uvicorn's cycle and its application


class HeldFlow(FlowControl):
    """uvicorn's flow control, which everybody may resume, but not while `held`."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Pipeline:
    """The requests of one connection that wait."""

    def __init__(self, flow: HeldFlow) -> None:
        self._flow = flow
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> bool:
        """Let a request wait, and read no more; returns False where too many do."""
        self._flow.pause_reading()
        self._flow.held = True
        self._waiting.append(waiting)
        return len(self._waiting) <= _MOST

    def next(self) -> Waiting:
        """Take out the request whose turn it is."""
        waiting = self._waiting.popleft()
        if not self._waiting:
            self._flow.held = False
            self._flow.resume_reading()
        return waiting

    def clear(self) -> None:
        """Forget all: the client has gone."""
        self._waiting.clear()
