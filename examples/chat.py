"""Asks a running Driftgate with the official client, whole and streamed, and scores the answer.

    DRIFTGATE_API_KEY=dg-… python -m examples.chat [--url http://127.0.0.1:8080] [--model ALIAS]

`make serve` prints a key. What is asked is kept in the traffic log, the score and the correction
beside it: that is what the monitor and the next training look at.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import openai


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, print, score; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.chat", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="production")
    given = parser.parse_args(arguments)
    key = os.environ.get("DRIFTGATE_API_KEY")
    if key is None:
        print("DRIFTGATE_API_KEY is not set; `make serve` prints a key.", file=sys.stderr)
        return 2
    try:
        with openai.OpenAI(base_url=f"{given.url}/v1", api_key=key) as client:
            _ask(client, given.model)
    except openai.APIError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _ask(client: openai.OpenAI, model: str) -> None:
    question: Any = [{"role": "user", "content": "What is the capital of France?"}]
    answered = client.chat.completions.with_raw_response.create(
        model=model, messages=question, temperature=0, max_tokens=32
    )
    answer = answered.parse()
    print(answer.choices[0].message.content)
    print(f"by {answered.headers['x-driftgate-release']}")

    print("\nstreamed: ", end="")
    stream = client.chat.completions.create(
        model=model, messages=question, temperature=0, max_tokens=32, stream=True
    )
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()

    # The official client sends what it does not know by `post`.
    feedback = {"completion_id": answer.id, "score": 1.0, "correction": "Paris."}
    client.post("/feedback", body=feedback, cast_to=object)
    print(f"scored {answer.id}")


if __name__ == "__main__":
    sys.exit(main())
