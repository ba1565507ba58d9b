"""How much a gateway delays single tokens while many streams run at once.

The mock stamps each frame with the time at which it wrote it. For two frames of a stream that
follow each other, the added inter-token time is

    (difference of the arrivals) - (difference of the stamps), or 0 where that is negative:

a frame that catches up after a late one is not counted as a gain. Client and mock add to it
themselves; the system `direct` shows how much.
"""

import asyncio
import bisect
import gc
import itertools
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvloop

_STAMP = re.compile(rb"t:(\d{20})")
# Beyond the time that the streams last by themselves; a system that needs longer cannot keep up.
_GRACE_S = 15.0


@dataclass(frozen=True)
class TokenDelays:
    """Added inter-token times over all streams, in microseconds.

    Args:
        streams: Concurrent streams.
        frames: Frames of each.
        interval_ms: Time between frames at the source, in milliseconds.
        measured: Inter-token times that were measured.
        p50_us: Their median.
        p99_us: Their 99th percentile.
        worst_p99_us: 99th percentile over the streams of each stream's worst.
        problem: Why the figures are not to be trusted; empty where all frames came.
    """

    streams: int
    frames: int
    interval_ms: int
    measured: int
    p50_us: float
    p99_us: float
    worst_p99_us: float
    problem: str = ""


class _Stream(asyncio.Protocol):
    """One connection with one streamed request; keeps what it reads with the time."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, bytes]] = []
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.reads.append((time.monotonic_ns(), data))
        if data.endswith(b"0\r\n\r\n"):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def measure(
    url: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    streams: int,
    frames: int,
    interval_ms: int,
) -> TokenDelays:
    """Run `streams` streams at once and return the delays of their frames.

    Args:
        url: The system's address.
        path: Path of the route.
        headers: Header lines beside content-type.
        body: A request whose answer the mock paces.
        streams: Concurrent streams, spread evenly over the interval.
        frames: Frames of each, as `body` says.
        interval_ms: Time between them, as `body` says.
    """
    address = urlsplit(url)
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {address.netloc}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    limit_s = frames * interval_ms / 1000 + _GRACE_S
    gc.collect()
    gc.disable()  # a pause here would look like one of the gateway
    try:
        read = uvloop.run(
            _read(
                address.hostname or "", address.port or 80, request, streams, interval_ms, limit_s
            )
        )
    finally:
        gc.enable()
    return summarise(read, frames, interval_ms)


async def _read(
    host: str, port: int, request: bytes, streams: int, interval_ms: int, limit_s: float
) -> list[list[tuple[int, bytes]]]:
    loop = asyncio.get_running_loop()
    connections = [await loop.create_connection(_Stream, host, port) for _ in range(streams)]
    for index, (transport, _) in enumerate(connections):
        loop.call_later(index * interval_ms / 1000 / streams, transport.write, request)
    await asyncio.wait([protocol.ended for _, protocol in connections], timeout=limit_s)
    for transport, _ in connections:
        transport.abort()
    return [protocol.reads for _, protocol in connections]


def summarise(
    read: Sequence[Sequence[tuple[int, bytes]]], frames: int, interval_ms: int
) -> TokenDelays:
    """Return the delays of streams from what was read of each: (time in ns, bytes)."""
    came = [frame_times(reads) for reads in read]
    delays = [added_times(times) for times in came]
    every = sorted(itertools.chain.from_iterable(delays))
    worst = sorted(max(each) for each in delays if each)
    return TokenDelays(
        streams=len(read),
        frames=frames,
        interval_ms=interval_ms,
        measured=len(every),
        p50_us=percentile(every, 50) / 1000,
        p99_us=percentile(every, 99) / 1000,
        worst_p99_us=percentile(worst, 99) / 1000,
        problem=_problem(read, came, frames),
    )


def frame_times(reads: Sequence[tuple[int, bytes]]) -> list[tuple[int, int]]:
    """Return (written, arrived) of each frame of a stream, in ns; it arrives with its last byte."""
    data = b"".join(part for _, part in reads)
    ends = list(itertools.accumulate(len(part) for _, part in reads))
    return [
        (int(match[1]), reads[bisect.bisect_left(ends, match.end())][0])
        for match in _STAMP.finditer(data)
    ]


def added_times(times: Sequence[tuple[int, int]]) -> list[int]:
    """Return what was added between each two frames that follow each other, in ns, at least 0."""
    return [
        max(0, (arrived - arrived_before) - (written - written_before))
        for (written_before, arrived_before), (written, arrived) in itertools.pairwise(times)
    ]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted numbers; 0 where there are none."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def _problem(
    read: Sequence[Sequence[tuple[int, bytes]]],
    came: Sequence[Sequence[tuple[int, int]]],
    frames: int,
) -> str:
    statuses = {reads[0][1][9:12].decode(errors="replace") for reads in read if reads}
    if wrong := statuses - {"200"}:
        return f"status {', '.join(sorted(wrong))}"
    arrived, expected = sum(len(times) for times in came), frames * len(read)
    return "" if arrived == expected else f"{arrived} of {expected} frames came in time"
