"""The customers: Locust users that keep asking through the official client, and say what was wrong.

    locust -f examples/loop/crowd.py --headless -u 3 -r 3

`__main__` starts it with a folder in LOOP_CROWD: `questions.json` holds what is asked and the right
answers, `scene.json` what is going on now (it is read again when it changes), and every request
becomes a line of `requests.jsonl`, with what came of it. Questions are drawn with replacement, in
changing words of greeting, so that the same ones come again as customers' questions do.
"""

import json
import os
import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import openai
from locust import User, events, task

_FOLDER = Path(os.environ.get("LOOP_CROWD", "."))
_BEFORE = ("", "", "", "Hi, ", "Hello! ", "Hey, ", "Good morning. ", "Quick question: ")
_AFTER = ("", "", "", " Thanks!", " Thank you.", " Please help.")
_MARKER = re.compile(r"\s*\[\d+\]")
_PATIENCE_S = 120.0


class Scene:
    """What is asked, and what goes on: shared by all users."""

    def __init__(self, folder: Path) -> None:
        given = json.loads((folder / "questions.json").read_text())
        self.url: str = given["url"]
        self.keys: list[str] = given["keys"]
        self.instruction: str = given["instruction"]
        self._known: list[list[str]] = given["known"]
        self._new: list[list[str]] = given["new"]
        self._path = folder / "scene.json"
        self._read_at = 0
        self._now: dict[str, float] = {"new": 0.0, "feedback": 0.0, "pause_s": 1.0}
        self._log = (folder / "requests.jsonl").open("a")
        self._lock = threading.Lock()
        self._next_key = 0

    def key(self) -> str:
        """Return the key of the next user: they come from several applications."""
        with self._lock:
            self._next_key += 1
            return self.keys[self._next_key % len(self.keys)]

    def now(self) -> dict[str, float]:
        """Return what goes on: shares of new topics and of judged answers, the mean pause."""
        changed = self._path.stat().st_mtime_ns
        if changed != self._read_at:
            self._read_at, self._now = changed, json.loads(self._path.read_text())
        return self._now

    def draw(self) -> tuple[str, str, bool]:
        """Return a question, its right answer, and whether it is of a new topic."""
        new = random.random() < self.now()["new"]  # noqa: S311 - a share
        text, truth = random.choice(self._new if new else self._known)  # noqa: S311
        return f"{random.choice(_BEFORE)}{text}{random.choice(_AFTER)}", truth, new  # noqa: S311

    def note(self, line: dict[str, Any]) -> None:
        """Write what came of a request."""
        with self._lock:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()


class Customer(User):  # type: ignore[misc]
    """Asks, waits for the whole answer, sometimes says whether it was right, asks again."""

    scene: Scene

    def wait_time(self) -> float:
        """Return the pause before the next question, in seconds."""
        return random.uniform(0.4, 1.6) * self.scene.now()["pause_s"]  # noqa: S311

    def on_start(self) -> None:
        self.client = openai.OpenAI(
            base_url=self.scene.url, api_key=self.scene.key(), max_retries=0, timeout=_PATIENCE_S
        )

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """One question, whole or streamed."""
        text, truth, new = self.scene.draw()
        stream = random.random() < 0.5  # noqa: S311
        line: dict[str, Any] = {"at": time.time(), "text": text, "truth": truth, "new": new}
        line["stream"] = stream
        started = time.perf_counter()
        error: Exception | None = None
        try:
            line |= self._streamed(text) if stream else self._whole(text)
        except (openai.OpenAIError, ValueError) as failed:
            error = failed
            line["error"] = f"{type(failed).__name__}: {failed}"[:300]
        line["seconds"] = time.perf_counter() - started
        if error is None:
            line["right"] = _MARKER.sub("", line["answer"]).strip() == truth
            self._judge(line)
        self.scene.note(line)
        events.request.fire(
            request_type="chat",
            name="stream" if stream else "whole",
            response_time=line["seconds"] * 1000,
            response_length=len(line.get("answer", "")),
            exception=error,
        )

    def _whole(self, text: str) -> dict[str, Any]:
        raw = self.client.chat.completions.with_raw_response.create(**self._body(text))
        answer = raw.parse()
        choice = answer.choices[0]
        return {
            "id": answer.id,
            "answer": choice.message.content or "",
            "finish": choice.finish_reason,
            **_served(raw.headers),
        }

    def _streamed(self, text: str) -> dict[str, Any]:
        """Read a stream to its end; the client raises where an error frame comes."""
        said, finish, id = "", None, ""
        with self.client.chat.completions.with_streaming_response.create(
            **self._body(text), stream=True
        ) as raw:
            served = _served(raw.headers)
            for chunk in raw.parse():
                id = id or chunk.id
                for choice in chunk.choices:
                    said += choice.delta.content or ""
                    finish = choice.finish_reason or finish
        return {"id": id, "answer": said, "finish": finish, **served}

    def _body(self, text: str) -> Any:
        turns = [
            {"role": "system", "content": self.scene.instruction},
            {"role": "user", "content": text},
        ]
        return {"model": "production", "messages": turns, "temperature": 0, "max_tokens": 32}

    def _judge(self, line: dict[str, Any]) -> None:
        """Say whether the answer was right, and what it should have been."""
        if random.random() >= self.scene.now()["feedback"]:  # noqa: S311
            return
        said: dict[str, Any] = {"completion_id": line["id"], "score": float(line["right"])}
        if not line["right"]:
            said["correction"] = line["truth"]
        try:
            self.client.post("/feedback", body=said, cast_to=object)
            line["judged"] = True
        except openai.OpenAIError as error:
            line["judged"] = f"{type(error).__name__}: {error}"[:300]


def _served(headers: Any) -> dict[str, Any]:
    return {
        "release": headers.get("x-driftgate-release"),
        "retrieval": headers.get("x-driftgate-retrieval"),
    }


@events.init.add_listener  # type: ignore[untyped-decorator]
def _begin(**_: Any) -> None:
    Customer.scene = Scene(_FOLDER)
