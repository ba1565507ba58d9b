"""Answers from documents, with citations, through the official client: `make demo-retrieval`.

    python -m examples.documents                       # starts a Driftgate of its own
    python -m examples.documents --url http://127.0.0.1:8080/v1 --key dg-…

indexes Driftgate's own documentation and a page that changes; asks SmolLM2; replaces the page and
asks again; and asks what no document says. Ends with 1 where an answer that should be cited is not,
or says what has been replaced.
"""

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from examples.serving import serving

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "docs/*.md")
_QUESTIONS = (
    "How are API keys stored?",
    "Which embedding model is the default?",
    "After how many days are traffic records and feedback deleted?",
)
_PAGE = "The support desk is open from {hours}. A call costs {price} euros."
_OLD = {"hours": "9:00 to 17:00", "price": "12"}
_NEW = {"hours": "7:30 to 20:00", "price": "15"}
_CHANGING = "How much does a call to the support desk cost?"
_UNKNOWN = "Who won the football world cup in 1974?"


class Demonstration:
    """The steps, in the order in which they are shown.

    Args:
        client: The official client.
        model: The alias or release that answers.
        console: Where it is told.
    """

    def __init__(self, client: openai.OpenAI, model: str, console: Console) -> None:
        self._client = client
        self._model = model
        self._console = console
        self._store = ""
        self.wrong: list[str] = []

    def run(self) -> None:
        """Do all of it; what went wrong is in `wrong`."""
        self._index()
        for question in _QUESTIONS:
            self._expect(question, cited=True)
        self._console.rule("A fact changes", style="dim")
        self._say("Before:")
        self._expect(_CHANGING, cited=True, says=_OLD["price"])
        seconds = self._replace()
        self._say(f"The page was replaced; {seconds:.1f} s later the gateway answers:")
        self._expect(_CHANGING, cited=True, says=_NEW["price"])
        self._console.rule("What no document says", style="dim")
        self._expect(_UNKNOWN, cited=False)
        self._client.vector_stores.delete(self._store)

    def _index(self) -> None:
        paths = [path for pattern in _DOCUMENTS for path in sorted(_ROOT.glob(pattern))]
        started = time.monotonic()
        self._store = self._client.vector_stores.create(name="demonstration").id
        with contextlib.ExitStack() as stack:
            files: list[Any] = [stack.enter_context(path.open("rb")) for path in paths]
            files.append(_page(_OLD, "2026-01-01"))
            batch = self._client.vector_stores.file_batches.upload_and_poll(
                self._store, files=files, poll_interval_ms=200
            )
        counts = batch.file_counts
        if counts.completed != len(files):
            self.wrong.append(f"{counts.failed} of {counts.total} documents were not indexed")
        self._say(
            f"Indexed {counts.completed} documents in {time.monotonic() - started:.0f} s: "
            + ", ".join(path.name for path in paths)
            + ", and a page that will change."
        )

    def _replace(self) -> float:
        """Replace the page that changes; returns the seconds until it could be found."""
        uploaded = self._client.files.create(file=_page(_NEW, "2026-06-01"), purpose="assistants")
        started = time.monotonic()
        self._client.vector_stores.files.create_and_poll(
            uploaded.id, vector_store_id=self._store, poll_interval_ms=100
        )
        return time.monotonic() - started

    def _expect(self, question: str, *, cited: bool, says: str = "") -> None:
        text, annotations = self._ask(question)
        if cited and not annotations:
            self.wrong.append(f"no citation in the answer to {question!r}")
        if not cited and annotations:
            self.wrong.append(f"a citation in the answer to {question!r}")
        if says and says not in " ".join([text, *(a["quote"] for a in annotations)]):
            self.wrong.append(f"the answer to {question!r} does not say {says}")
        if says == _NEW["price"] and _OLD["price"] in text:
            self.wrong.append(f"the answer to {question!r} says what was replaced")

    def _ask(self, question: str) -> tuple[str, list[dict[str, Any]]]:
        """Ask as an application would: streamed, with the annotations in the last chunk."""
        self._console.print(Text(f"\n{question}", style="bold"))
        text = ""
        annotations: list[dict[str, Any]] = []
        stream = self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=128,
            stream=True,
            extra_body={
                "retrieval": {
                    "mode": "always",
                    "vector_store_ids": [self._store],
                    "insufficient": "say_so",  # rather than let the model guess
                }
            },
        )
        for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                annotations += (choice.delta.model_extra or {}).get("annotations") or []
        self._console.print(Padding(Text(text.strip(), style="green"), (0, 0, 0, 2)))
        shown = set()
        for annotation in annotations:
            cited = annotation["file_citation"]
            if cited["number"] not in shown:
                shown.add(cited["number"])
                quote = " ".join(cited["quote"].split())
                line = f"[{cited['number']}] {cited['filename']}: “{quote}”"
                self._console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))
        return text, [annotation["file_citation"] for annotation in annotations]

    def _say(self, text: str) -> None:
        self._console.print(Text(text))


def _page(facts: dict[str, str], valid_from: str) -> tuple[str, io.BytesIO]:
    """Return a Markdown file; a later one with the same id replaces it."""
    head = f"---\nid: support\ntitle: Support desk\nvalid_from: {valid_from}\n---\n"
    return "support.md", io.BytesIO((head + _PAGE.format(**facts) + "\n").encode())


@contextlib.contextmanager
def _served(options: argparse.Namespace, console: Console) -> Iterator[tuple[str, str]]:
    if options.key:
        yield options.url, options.key
        return
    with contextlib.ExitStack() as stack:
        with console.status("starting Driftgate: engine, retrieval service, gateway"):
            address = stack.enter_context(serving())
        yield address


def main(arguments: Sequence[str] | None = None) -> int:
    """Show it; returns 1 where an answer was not as it must be."""
    options = _options(arguments)
    console = Console(highlight=False)
    try:
        with (
            _served(options, console) as (url, key),
            openai.OpenAI(base_url=url, api_key=key) as client,
        ):
            demonstration = Demonstration(client, options.model, console)
            demonstration.run()
    except (openai.APIError, RuntimeError) as error:  # RuntimeError: Driftgate did not start
        print(f"✗ {error}", file=sys.stderr)
        return 1
    for wrong in demonstration.wrong:
        print(f"✗ {wrong}", file=sys.stderr)
    return 1 if demonstration.wrong else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--key", help="with the scope inference; none: start a Driftgate")
    parser.add_argument("--model", default="production", help="an alias or a release")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
