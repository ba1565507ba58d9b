"""People at the pages of a comparison, for tests: they read what is shown and send its forms."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.gateway.running import RunningGateway


def create(
    gateway: RunningGateway, items: Any = 4, golds: int = 0, **fields: Any
) -> dict[str, Any]:
    """Make a comparison whose answers say which they are, in capitals of no release."""
    body: dict[str, Any] = {
        "name": "Bank questions", "baseline": "production-1", "candidate": "compared-2",
        "items": items if isinstance(items, list) else [
            {"prompt": f"Question {n}?", "baseline": f"{n} OLD", "candidate": f"{n} NEW"}
            for n in range(items)
        ],
        "gold": [
            {"messages": [{"role": "user", "content": f"Gold {n}?"}], "good": f"{n} GOOD",
             "bad": f"{n} BAD"}
            for n in range(golds)
        ],
    }  # fmt: skip
    with gateway.client() as client:
        answer = client.post("/v1/comparisons", json=body | fields)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def invite(gateway: RunningGateway, comparison: str, name: str, **fields: Any) -> dict[str, Any]:
    """Invite a person."""
    with gateway.client() as client:
        answer = client.post(f"/v1/comparisons/{comparison}/invites", json={"name": name} | fields)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


@dataclass
class Person:
    """A rater with a browser of their own."""

    client: httpx.Client
    page: httpx.Response

    @property
    def place(self) -> str:
        """The place of the item that is shown, or an empty text where none is."""
        found = re.search(r'name="place" value="(\d+)"\s*>\s*<fieldset', self.page.text)
        return found[1] if found else ""

    @property
    def answers(self) -> tuple[str, str]:
        """What is shown on the left and on the right."""
        texts = re.findall(r'class="text" tabindex="0"[^>]*>(.*?)</div>', self.page.text, re.DOTALL)
        left, right = (html.unescape(text) for text in texts)
        return left, right

    def say(self, choice: str, **fields: str) -> httpx.Response:
        """Send the form of the item that is shown."""
        path = self.page.url.path.removesuffix("/vote")
        url = self.page.url.copy_with(path=f"{path}/vote", query=None)
        self.page = self.client.post(url, data={"place": self.place, "choice": choice, **fields})
        return self.page

    def prefer(self, *words: str, **fields: str) -> httpx.Response:
        """Choose the side on which one of these words is shown."""
        left, _ = self.answers
        return self.say("left" if any(word in left for word in words) else "right", **fields)

    def undo(self) -> httpx.Response:
        """Take the last vote back."""
        last = re.search(r'name="place" value="(\d+)"\s*>\s*<button', self.page.text)
        assert last is not None
        url = self.page.url.copy_with(path=f"{self.page.url.path}/undo", query=None)
        self.page = self.client.post(url, data={"place": last[1]})
        return self.page

    def finish(self, *words: str) -> int:
        """Prefer what has one of these words in all that is left; returns how many that was."""
        done = 0
        while self.page.status_code == 200 and self.place:
            self.prefer(*words)
            done += 1
        return done


Begin = Callable[[str], Person]
"""Opens a link and begins."""
