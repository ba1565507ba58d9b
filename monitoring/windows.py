"""Windows of traffic: the requests of a release in their order, one of each conversation."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.store.monitoring import Place
from gateway.store.traffic import TrafficRecord
from monitoring.requests import PROBE, Request, of_record

_REMEMBERED = 2000


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut off the traffic.

    Attributes:
        requests: Those that count, in their order.
        place: The last record that was read, where there are as many as were wanted.
        left_out: Later turns of conversations, and requests without a prompt.
        textless: How many of these have no prompt in the log.
    """

    requests: tuple[Request, ...]
    place: Place | None
    left_out: int
    textless: int


class Conversations:
    """The conversations that have been seen; the oldest are forgotten first."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._seen = OrderedDict.fromkeys(keys)

    def is_new(self, key: str | None) -> bool:
        """Return whether a conversation was not seen yet, and note it."""
        if key is None:
            return True
        if key in self._seen:
            self._seen.move_to_end(key)
            return False
        self._seen[key] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def keys(self) -> list[str]:
        """Return what is remembered, the oldest first."""
        return list(self._seen)


def cut(
    records: Sequence[TrafficRecord], conversations: Conversations, size: int
) -> tuple[Cut, Conversations]:
    """Return the first `size` requests that count, and the conversations after them.

    The first request of a conversation counts; the later ones depend on it, and evidence must not
    count a person twice. The monitor's own probes are in no window, and are not left out either.

    Args:
        records: In their order.
        conversations: Those that were seen before; not changed.
        size: How many are wanted.
    """
    seen = Conversations(conversations.keys())
    found: list[Request] = []
    left_out = textless = 0
    for record in records:
        if PROBE in (record.metadata or {}):
            continue
        request = of_record(record)
        if request.prompt is None:
            textless += 1
            left_out += 1
        elif _is_first(record, seen):
            found.append(request)
        else:
            left_out += 1
        if len(found) == size:
            place = Place(record.created_at, record.completion_id)
            return Cut(tuple(found), place, left_out, textless), seen
    return Cut(tuple(found), None, left_out, textless), seen


def _is_first(record: TrafficRecord, seen: Conversations) -> bool:
    """Return whether a request is the first of its conversation, and note the conversation.

    A chat without an answer in it is: many people may open with the same words, and each counts.
    """
    named = "conversation" in (record.metadata or {})
    messages = record.messages if isinstance(record.messages, list) else []
    answered = any(isinstance(m, dict) and m.get("role") == "assistant" for m in messages)
    is_new = seen.is_new(record.conversation)
    return is_new or not (named or answered)
