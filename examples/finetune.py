"""Fine-tunes through the gateway with the official client alone, and measures what it brought.

    driftgate serve                                   # in another terminal
    python -m examples.restaurants --data ../shared/data --out bookings
    python -m examples.finetune bookings --key dg-… [--recipe tiny-cpu] [--set epochs=1]

asks the base for held-out rows, uploads the others, starts a job, shows its events, and asks the
release that comes of it the same: exact match (and valid JSON, where the expected answers are
JSON) with 95 % Wilson intervals. `examples.banking77` makes another such folder.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import openai

from gateway.store.examples import Example, RowError, read_jsonl
from training.evaluation.intervals import wilson
from training.evaluation.metrics.exact import is_document, matches

_AT_ONCE = 8
_ENDED = ("succeeded", "failed", "cancelled")
_READY_S = 600.0


def main() -> int:
    """Do all of it; returns 0 once the new release has answered."""
    options = _options()
    client = openai.OpenAI(base_url=options.url, api_key=options.key)
    rows = _rows(options.folder / "test.jsonl", options.rows)
    before = _score(options, options.model, rows)
    print(f"{options.model}: {before}", flush=True)
    started = time.monotonic()
    job = _train(client, options)
    if job.status != "succeeded" or job.fine_tuned_model is None:
        print(f"The job {job.status}: {job.error.message if job.error else ''}", file=sys.stderr)
        return 1
    _until_ready(client, job.fine_tuned_model)
    after = _score(options, job.fine_tuned_model, rows)
    minutes = (time.monotonic() - started) / 60
    print(f"{options.model}: {before}")
    print(f"{job.fine_tuned_model}: {after}; {minutes:.0f} min from upload to answers")
    return 0


def _train(client: openai.OpenAI, options: argparse.Namespace) -> Any:
    files = {}
    for name in ("train", "valid"):
        path = options.folder / f"{name}.jsonl"
        files[name] = client.files.create(file=path.open("rb"), purpose="fine-tune").id
    changes = dict(change.split("=", 1) for change in options.set)
    job = client.fine_tuning.jobs.create(
        model=options.model,
        training_file=files["train"],
        validation_file=files["valid"],
        suffix=options.suffix,
        extra_body={"driftgate": {"recipe": options.recipe, "set": changes}},
    )
    seen: set[str] = set()
    while True:
        job = client.fine_tuning.jobs.retrieve(job.id)
        events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
        for event in reversed([event for event in events if event.id not in seen]):
            seen.add(event.id)
            print(f"  {event.message}", flush=True)
        if job.status in _ENDED:
            return job
        time.sleep(2)


def _until_ready(client: openai.OpenAI, release: str) -> None:
    """Wait for the engine of a release."""
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            client.completions.create(model=release, prompt="Hello", max_tokens=1)
            return
        except openai.InternalServerError:  # 503, no engine yet
            if time.monotonic() > deadline:
                raise
            time.sleep(2)


def _score(options: argparse.Namespace, model: str, rows: list[Example]) -> str:
    answers = asyncio.run(_ask(options, model, rows))
    exact = sum(matches(a, row.answer) for a, row in zip(answers, rows, strict=True))
    said = f"exact {_rate(exact, len(rows))}"
    if all(is_document(row.answer) for row in rows):
        said += f", valid JSON {_rate(sum(map(is_document, answers)), len(rows))}"
    return said


async def _ask(options: argparse.Namespace, model: str, rows: list[Example]) -> list[str]:
    room = asyncio.Semaphore(_AT_ONCE)
    async with openai.AsyncOpenAI(base_url=options.url, api_key=options.key) as client:

        async def one(row: Example) -> str:
            messages: Any = [message.as_dict() for message in row.prompt]
            async with room:
                answer = await client.chat.completions.create(
                    model=model, messages=messages, temperature=0, max_tokens=64
                )
            return answer.choices[0].message.content or ""

        return await asyncio.gather(*map(one, rows))


def _rate(count: int, of: int) -> str:
    rate = wilson(count, of)
    return f"{rate.value:.1%} ({count} of {of}; {rate.low:.1%} to {rate.high:.1%})"


def _rows(path: Path, count: int) -> list[Example]:
    rows = []
    for row in read_jsonl(path):
        if isinstance(row, RowError):
            raise SystemExit(f"{path}: {row}")
        rows.append(row)
    return rows[:count]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="with train.jsonl, valid.jsonl and test.jsonl")
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--key", required=True, help="with the scopes inference and training")
    parser.add_argument("--model", default="production", help="the base: an alias or a release")
    parser.add_argument("--recipe", default="tiny-cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--suffix", default="bookings")
    parser.add_argument("--rows", type=int, default=200, help="held-out rows to ask")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except openai.APIError as error:
        sys.exit(f"✗ {error}")
