"""Exact match on held-out questions, asked through the gateway with the official client."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openai

from gateway.store.examples import Example
from training.evaluation.intervals import Interval, wilson

_AT_ONCE = 4
_MARKER = re.compile(r"\s*\[\d+\]")
# The monitor and a rollout leave requests with it out, as golden probes are.
_METADATA = {"driftgate_probe": "demonstration"}


@dataclass(frozen=True, slots=True)
class Measured:
    """Right answers to questions on known and on new topics, and what retrieval was used for."""

    when: str
    known: Interval
    new: Interval
    grounded: int


def measure(
    url: str,
    key: str,
    when: str,
    rows: Mapping[str, Sequence[Example]],
    *,
    model: str = "production",
    retrieval: str | None = None,
) -> Measured:
    """Ask the rows of each part (`known`, `new`).

    Args:
        url: Of the API.
        key: With the scope inference.
        when: Names the measurement.
        rows: The rows.
        model: The alias or release that is asked.
        retrieval: `off`, `auto`, `always`; None: as the policy of the alias says.

    Raises:
        openai.APIError: An answer did not come.
    """
    asked = [(part, row) for part, each in rows.items() for row in each]
    answers = asyncio.run(_ask(url, key, model, retrieval, [row for _, row in asked]))
    right: dict[str, int] = dict.fromkeys(rows, 0)
    for (part, row), (text, _) in zip(asked, answers, strict=True):
        right[part] += _MARKER.sub("", text).strip() == row.answer
    rates = {part: wilson(right[part], len(rows[part])) for part in rows}
    return Measured(when, rates["known"], rates["new"], sum(used for _, used in answers))


async def _ask(
    url: str, key: str, model: str, retrieval: str | None, rows: Sequence[Example]
) -> list[tuple[str, bool]]:
    room = asyncio.Semaphore(_AT_ONCE)
    more: dict[str, Any] = {"retrieval": {"mode": retrieval}} if retrieval else {}
    async with openai.AsyncOpenAI(base_url=url, api_key=key, timeout=300) as client:

        async def one(row: Example) -> tuple[str, bool]:
            turns: Any = [message.as_dict() for message in row.prompt]
            async with room:
                raw = await client.chat.completions.with_raw_response.create(
                    model=model, messages=turns, temperature=0, max_tokens=32,
                    metadata=_METADATA, extra_body=more,
                )  # fmt: skip
            used = (raw.headers.get("x-driftgate-retrieval") or "").startswith("grounded")
            return raw.parse().choices[0].message.content or "", used

        return await asyncio.gather(*map(one, rows))
