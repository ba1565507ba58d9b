"""People who ask documents: searches, and chats that are answered from passages.

The first user makes a vector store of `loadtests/handbook.md` through the API, as an application
would; it is deleted when the run ends.
"""

import time
from pathlib import Path
from typing import Any, ClassVar

import gevent
import requests
from gevent.lock import Semaphore
from locust import events, task
from locust.env import Environment

from loadtests.prompts import sample
from loadtests.users.asking import AskingUser

_HANDBOOK = Path(__file__).parents[1] / "handbook.md"
_PATIENCE_S = 60.0


class Handbook:
    """The vector store of one run.

    Args:
        host: Where the gateway is.
        headers: What authorises.
    """

    def __init__(self, host: str, headers: dict[str, str]) -> None:
        self._url, self._headers = f"{host}/v1", headers
        upload = {"file": (_HANDBOOK.name, _HANDBOOK.read_bytes(), "text/markdown")}
        file = self._call("POST", "files", files=upload, data={"purpose": "assistants"})["id"]
        self._file: str = file
        body = {"name": "load test: handbook", "file_ids": [file]}
        self.id: str = self._call("POST", "vector_stores", json=body)["id"]

    def wait(self) -> None:
        """Wait until it can be searched.

        Raises:
            RuntimeError: It could not be indexed, or not in time.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            counts = self._call("GET", f"vector_stores/{self.id}")["file_counts"]
            if counts["failed"]:
                raise RuntimeError("the handbook could not be indexed")
            if counts["completed"]:
                return
            gevent.sleep(0.2)
        raise RuntimeError(f"the handbook was not indexed within {_PATIENCE_S:g} s")

    def delete(self) -> None:
        """Leave nothing behind."""
        self._call("DELETE", f"vector_stores/{self.id}")
        self._call("DELETE", f"files/{self._file}")

    def _call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = requests.request(
            method, f"{self._url}/{path}", headers=self._headers, timeout=60, **body
        )
        if answer.status_code != 200:
            raise RuntimeError(f"{method} {path}: status {answer.status_code}: {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found


class DocumentsUser(AskingUser):
    """Searches twice as often as it chats."""

    one_at_a_time: ClassVar[Semaphore] = Semaphore()
    handbook: ClassVar[Handbook | None] = None

    def on_start(self) -> None:
        """Wait until the handbook can be searched."""
        super().on_start()
        self.prompts = sample()  # the handbook knows of these
        with DocumentsUser.one_at_a_time:
            if DocumentsUser.handbook is None:
                headers = {"authorization": f"Bearer {self.key()}"}
                DocumentsUser.handbook = Handbook(str(self.host), headers)
                DocumentsUser.handbook.wait()
            self.store = DocumentsUser.handbook.id

    @task(2)  # type: ignore[untyped-decorator]
    def search(self) -> None:
        with self.client.post(
            f"/v1/vector_stores/{self.store}/search",
            json={"query": self.question(), "max_num_results": 5},
            catch_response=True,
            name="documents search",
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: {answer.text[:200]}")
            elif not answer.json()["data"]:
                answer.failure("nothing found")

    @task(1)  # type: ignore[untyped-decorator]
    def chat(self) -> None:
        grounded = {"mode": "always", "vector_store_ids": [self.store], "top_k": 2}
        self.stream("documents chat", {"retrieval": grounded})


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _delete(environment: Environment, **_: Any) -> None:
    handbook, DocumentsUser.handbook = DocumentsUser.handbook, None
    if handbook is not None:
        handbook.delete()
