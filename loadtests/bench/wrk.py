"""Runs wrk (https://github.com/wg/wrk) and reads what it measured.

wrk's own report rounds; a Lua script that sets the request also prints the exact figures.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_MARK = "bench: "
# wrk forgets latencies above its time limit, which slow peers have at 256 connections.
_TIMEOUT_S = 60
_SCRIPT = """
wrk.method = "POST"
wrk.body = [==[{body}]==]
{headers}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests": %d, "duration_us": %d, "p50_us": %.1f, "p99_us": %.1f, ' ..
    '"errors": {{"status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}}}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect, e.read, e.write, e.timeout))
end
"""


class WrkFailed(Exception):
    """wrk is missing, or said nothing that can be read."""


@dataclass(frozen=True)
class Measured:
    """What wrk measured; latencies in microseconds, from the request to the answer's last byte.

    Args:
        requests: Complete answers.
        duration_s: Length of the run, in seconds.
        p50_us: Median latency.
        p99_us: 99th percentile of the latency.
        errors: Counts by kind (`status`: 400 and above), without zeros.
    """

    requests: int
    duration_s: float
    p50_us: float
    p99_us: float
    errors: dict[str, int]


def require() -> str:
    """Return the program's path; WrkFailed where it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise WrkFailed("wrk is not installed (Debian: apt-get install wrk)")
    return found


def run(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    connections: int,
    seconds: float,
    script: Path,
) -> Measured:
    """Post `body` to `url` again and again over `connections` connections, from one thread.

    Args:
        url: Where to.
        headers: Header lines beside content-type.
        body: What is posted.
        connections: Connections, each with one request at a time.
        seconds: How long, whole seconds, at least 1.
        script: File that the Lua script is written to.

    Raises:
        WrkFailed: wrk is missing, or failed.
    """
    program = require()
    script.write_text(lua(headers, body))
    command = [
        program,
        *("--threads", "1", "--connections", str(connections)),
        *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{_TIMEOUT_S}s"),
        *("--script", str(script), url),
    ]
    limit_s = seconds + _TIMEOUT_S
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise WrkFailed(f"wrk did not end within {limit_s:g} s") from error
    if done.returncode:
        raise WrkFailed(f"wrk ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return parse(done.stdout)


def lua(headers: Mapping[str, str], body: bytes) -> str:
    """Return the Lua script that sets the request and prints the figures."""
    text = body.decode()
    sent = {"content-type": "application/json", **headers}
    if "]==]" in text or any("]==]" in part for pair in sent.items() for part in pair):
        raise ValueError("the request holds the end of a Lua string")
    lines = [f"wrk.headers[ [==[{name}]==] ] = [==[{value}]==]" for name, value in sent.items()]
    return _SCRIPT.format(body=text, headers="\n".join(lines), mark=_MARK)


def parse(output: str) -> Measured:
    """Read what the Lua script printed.

    Raises:
        WrkFailed: It printed nothing, or no answer was complete.
    """
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise WrkFailed(f"wrk printed no figures: {output.strip()[-300:]}")
    found = json.loads(line.removeprefix(_MARK))
    errors = {name: int(count) for name, count in found["errors"].items() if count}
    if not found["requests"]:
        raise WrkFailed(f"no answer was complete; errors: {errors or 'none'}")
    return Measured(
        requests=found["requests"],
        duration_s=found["duration_us"] / 1e6,
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        errors=errors,
    )
