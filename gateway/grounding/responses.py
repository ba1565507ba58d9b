"""Cites the answers of the Responses API, whole or while they stream.

In a stream the deltas of a sentence are held until it is checked. Events are numbered anew, since
what is held and shown together is one event; the annotations come as events of their own before
the text is done, and again wherever the text is repeated whole.
"""

from typing import Any

import msgspec

from gateway.grounding.citing import Citing, file_citation
from gateway.grounding.said import event
from retrieval.citations import Cited, StreamCiter

Json = dict[str, Any]
_TEXT = "response.output_text."
_LAST = ("response.completed", "response.incomplete", "response.failed")


class ResponseEditor:
    """An `Editor` of responses.

    Args:
        citing: How they are cited.
    """

    def __init__(self, citing: Citing) -> None:
        self._citing = citing
        self.begin()

    def begin(self) -> None:
        self._citing.begin()
        self._citers: dict[tuple[str, int], StreamCiter] = {}
        self._cited: dict[tuple[str, int], Cited] = {}
        self._held: list[tuple[str, Json]] = []
        self._number = 0

    def whole(self, answer: bytes) -> bytes:
        document = msgspec.json.decode(answer)
        for part in _parts(document):
            if part.get("type") == "output_text":
                _put(part, self._citing.text(part.get("text") or ""))
        return msgspec.json.encode(document)

    def frames(self, data: bytes) -> bytes:
        out: list[bytes] = []
        for frame in data.split(b"\n\n"):
            start = frame.find(b"data: {")
            if start < 0 or not frame.startswith(b"event: response."):
                if frame:
                    out.append(frame + b"\n\n")
                continue
            fields = msgspec.json.decode(frame[start + 6 :])
            events = self._event(str(fields.get("type", "")), fields)
            if not self._shows(events):
                self._held += events
                continue
            for kind, each in self._held + events:
                if "sequence_number" in each:
                    each["sequence_number"] = self._number
                self._number += 1
                out.append(event(kind, each))
            self._held = []
        return b"".join(out)

    def _shows(self, events: list[tuple[str, Json]]) -> bool:
        """Return whether something is to be seen: until then another engine could take over."""
        if self._number:
            return True
        return any(kind.startswith(_TEXT) or kind in _LAST for kind, _ in events)

    def _event(self, kind: str, fields: Json) -> list[tuple[str, Json]]:
        """Return what takes the place of an event."""
        place = (str(fields.get("item_id", "")), int(fields.get("content_index") or 0))
        if kind == _TEXT + "delta":
            citer = self._citers.setdefault(place, self._citing.stream())
            shown = citer.feed(str(fields.get("delta", "")))
            return [(kind, fields | {"delta": shown})] if shown else []
        if kind == _TEXT + "done":
            return self._done(kind, fields, place)
        if kind == "response.content_part.done":
            _put(fields["part"], self._cited.get(place))
        elif kind == "response.output_item.done":
            self._put_item(fields["item"])
        elif kind in _LAST:
            for item in (fields.get("response") or {}).get("output") or ():
                self._put_item(item)
        return [(kind, fields)]

    def _done(self, kind: str, fields: Json, place: tuple[str, int]) -> list[tuple[str, Json]]:
        cited, rest = self._citing.end(self._citers.setdefault(place, self._citing.stream()))
        self._cited[place] = cited
        where: Json = {
            n: fields[n] for n in ("item_id", "output_index", "content_index") if n in fields
        }
        events: list[tuple[str, Json]] = []
        if rest:
            events.append((_TEXT + "delta", _numbered(_TEXT + "delta", where, delta=rest)))
        for number, annotation in enumerate(cited.annotations):
            added = _TEXT + "annotation.added"
            more = {"annotation_index": number, "annotation": file_citation(annotation)}
            events.append((added, _numbered(added, where, **more)))
        return [*events, (kind, fields | {"text": cited.text})]

    def _put_item(self, item: Json) -> None:
        for index, part in enumerate(item.get("content") or ()):
            _put(part, self._cited.get((str(item.get("id", "")), index)))


def _numbered(kind: str, where: Json, **more: Any) -> Json:
    extra: Json = {"logprobs": []} if kind.endswith("delta") else {}
    return {"type": kind, "sequence_number": 0} | where | more | extra


def _parts(document: Json) -> list[Json]:
    items = [i for i in document.get("output") or () if i.get("type") == "message"]
    return [part for item in items for part in item.get("content") or ()]


def _put(part: Json, cited: Cited | None) -> None:
    if cited is not None:
        part["text"] = cited.text
        part["annotations"] = [file_citation(a) for a in cited.annotations]
