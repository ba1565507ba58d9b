"""The benchmark harness: what it reads, computes and writes; no wrk and no gateway is started."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.bench import __main__ as bench
from loadtests.bench import chart, placement, report, results, tokens, usage, wrk
from loadtests.bench.goals import goals
from loadtests.bench.mock import FRAMES, MODEL, TEXT, Answers, MockEngine
from loadtests.bench.peers import body
from loadtests.bench.results import Kind, LoadRun, MemoryGrowth, Results, SystemInfo, TokenRun
from loadtests.bench.session import STEPS
from loadtests.bench.tokens import TokenDelays
from loadtests.bench.usage import Usage

_WRK = """\
Running 2s test @ http://127.0.0.1:9000/v1/chat/completions
  1 threads and 32 connections
  20000 requests in 2.00s, 12.00MB read
bench: {"requests": 20000, "duration_us": 2000000, "p50_us": 310.0, "p99_us": 900.5, \
"errors": {"status": 3, "connect": 0, "read": 0, "write": 0, "timeout": 1}}
"""


def test_wrks_figures_and_errors_are_read() -> None:
    measured = wrk.parse(_WRK)
    assert (measured.requests, measured.duration_s) == (20_000, 2.0)
    assert (measured.p50_us, measured.p99_us) == (310.0, 900.5)
    assert measured.errors == {"status": 3, "timeout": 1}


@pytest.mark.parametrize("output", ["unable to connect", _WRK.replace("20000, ", "0, ")])
def test_a_run_without_answers_is_no_result(output: str) -> None:
    with pytest.raises(wrk.WrkFailed):
        wrk.parse(output)


def test_a_missing_wrk_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(wrk.WrkFailed, match="apt-get install wrk"):
        wrk.require()


def test_the_request_cannot_leave_its_lua_string() -> None:
    assert "[==[Bearer x]==]" in wrk.lua({"authorization": "Bearer x"}, body("m"))
    with pytest.raises(ValueError, match="Lua"):
        wrk.lua({}, b"]==] os.exit()")


def _load(
    round: int, system: str, kind: Kind, connections: int, p50_us: float, rate: int, errors: int = 0
) -> LoadRun:
    found = {"status": errors} if errors else {}
    measured = wrk.Measured(rate * 2, 2.0, p50_us, 3 * p50_us, found)
    return LoadRun(round, system, kind, connections, measured, Usage(0.5, 90.0, 100.0))


def _delays(p99_us: float, problem: str = "") -> TokenDelays:
    return TokenDelays(256, 100, 20, 25_344, 10.0, p99_us, 2 * p99_us, problem)


@pytest.fixture
def measured() -> Results:
    """Three rounds: ours is fast at one connection, but slower than vllm-router at 32."""
    machine = results.Machine(2, "a CPU", 24.0, "6.1", "3.11.9")
    names = ("direct", "driftgate", "driftgate-2", "vllm-router", "litellm", "portkey")
    infos = {name: SystemInfo("1", "a note") for name in names}
    found = Results("2026-11-24T12:00:00+00:00", "python -m x", machine, 2.0, 3, infos)
    found.failures["portkey"] = "cannot install: npm: No such | file"
    for n in (1, 2, 3):
        for system, p50_us, rate in (
            ("direct", 100, 90_000),
            ("driftgate", 200 + n, 9_000),
            ("driftgate-2", 220, 12_000),
            ("vllm-router", 300, 10_000 + n),
            ("litellm", 11_000, 60),
        ):
            found.loads.append(_load(n, system, "whole", 1, p50_us, 3_000))
            found.loads.append(_load(n, system, "whole", 32, p50_us * 10, rate))
            found.loads.append(_load(n, system, "stream", 32, p50_us * 10, rate // 3))
        found.tokens.append(TokenRun(n, "driftgate", _delays(2_000.0 * n)))
    samples = [(50_000, 90.0), (600_000, 94.0), (1_060_000, 96.5)]
    found.memory = MemoryGrowth("driftgate", 1_000_000, samples, {})
    return found


def test_goals_are_decided_by_the_numbers(measured: Results) -> None:
    verdicts = {goal.claim.partition(":")[0]: goal for goal in goals(measured)}
    latency = verdicts["Added latency, p50 at 1 connection"]
    assert latency.met
    assert latency.measured == "102 µs; vllm-router 200 µs"
    assert verdicts["LiteLLM's added latency, p50 at 1 connection"].measured.startswith("107 times")
    rate = [goal for goal in goals(measured) if goal.claim.startswith("Requests/s")]
    assert [goal.met for goal in rate] == [False, True]
    assert verdicts["Memory growth over 1,000,000 requests"].measured.startswith("+6.5 MB")
    assert verdicts["Added inter-token time, p99 over 256 streams"].met


def test_errors_and_short_runs_meet_no_goal(measured: Results) -> None:
    measured.loads.append(_load(4, "driftgate", "whole", 1, 110, 3_000, errors=7))
    measured.loads.append(_load(4, "direct", "whole", 1, 100, 3_000))
    measured.tokens.append(TokenRun(4, "driftgate", _delays(1.0, "9 of 25600 frames came")))
    measured.memory = MemoryGrowth("driftgate", 1000, [(500, 90.0), (1_500, 90.5)], {})
    verdicts = {goal.claim.partition(":")[0]: goal.met for goal in goals(measured)}
    assert verdicts["Added latency, p50 at 1 connection"] is False
    assert verdicts["Added inter-token time, p99 over 256 streams"] is False
    assert verdicts["Memory growth over 1,000,000 requests"] is None
    measured.memory = MemoryGrowth("driftgate", 1000, [(500, 90.0), (1_500, 190.5)], {})
    assert next(goal for goal in goals(measured) if "Memory" in goal.claim).met is False


def test_the_report_shows_missed_goals_errors_and_failed_peers(measured: Results) -> None:
    measured.loads.append(_load(3, "litellm", "whole", 256, 9e6, 50, errors=1_234))
    text = report.markdown(measured)
    assert "| **missed** |" in text
    assert "| portkey | could not be measured: cannot install: npm: No such / file |" in text
    assert "⚠ 1,234 errors" in text
    assert "102 µs (101 µs to 103 µs)" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    columns = {line.count("|") for line in tables if line.startswith("| driftgate |")}
    assert columns == {line.count("|") for line in tables if line.startswith("| portkey |")}


def test_results_survive_a_file_and_an_empty_report_can_be_written(
    measured: Results, tmp_path: Path
) -> None:
    measured.save(tmp_path / "bench.json")
    assert results.load(tmp_path / "bench.json") == measured
    empty = Results("2026-11-24T12:00:00+00:00", "x", measured.machine, 2.0, 3, measured.systems)
    assert "0 of 3 rounds, interrupted" in report.markdown(empty)
    assert {goal.met for goal in goals(empty)} == {None}
    for number, found in enumerate((measured, empty)):
        chart.draw(found, tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")


def test_rounds_are_interleaved_and_what_is_done_is_not_done_again(measured: Results) -> None:
    systems = [system for system in bench.SYSTEMS if system.name in ("direct", "driftgate")]
    left = bench.plan(systems, 4, measured)
    order = [(session.round, session.system.name) for session in left]
    assert order == [
        (1, "direct"), (1, "driftgate"), (2, "driftgate"), (2, "direct"),
        (3, "direct"), (3, "driftgate"), (4, "driftgate"), (4, "direct"),
    ]  # fmt: skip
    assert [str(step) for step in left[1].steps] == ["one core at 1", "whole at 256", "stream at 1"]
    assert left[-1].steps == STEPS


class _Transport(asyncio.Transport):
    """Keeps each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def _request(content: bytes, head: bytes = b"") -> bytes:
    line = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b"
    return line % (head, len(content), content)


async def _mock(*reads: bytes, turns: int = 100) -> _Transport:
    protocol = MockEngine(Answers(FRAMES), asyncio.get_running_loop())
    transport = _Transport()
    protocol.connection_made(transport)
    for data in reads:
        protocol.data_received(data)
    for _ in range(turns):
        await asyncio.sleep(0)
    return transport


def _events(writes: list[bytes]) -> Iterator[bytes]:
    """Yield the events of chunked writes; each must be one whole chunk."""
    for write in writes:
        size, _, rest = write.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length:] in (b"\r\n", b"\r\n0\r\n\r\n")
        assert rest[:length].endswith(b"\n\n")
        yield rest[:length].removeprefix(b"data: ").strip()


async def test_the_mock_answers_whole_requests_in_any_pieces() -> None:
    request = _request(body("any"))
    transport = await _mock(request[:30], request[30:-5], request[-5:] + request + request[:40])
    assert len(transport.writes) == 2
    head, _, content = transport.writes[0].partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(content) in head
    answers = [json.loads(write.partition(b"\r\n\r\n")[2]) for write in transport.writes]
    assert answers[0]["choices"][0]["message"]["content"] == TEXT
    assert answers[0]["usage"]["total_tokens"] == 44
    assert answers[0]["id"] != answers[1]["id"]


@pytest.mark.parametrize("with_usage", [False, True])
async def test_a_stream_is_one_write_per_frame_and_the_next_request_waits(with_usage: bool) -> None:
    content = b'{"stream": true}'
    if with_usage:
        content = b'{"stream":true,"stream_options":{"include_usage":true}}'
    transport = await _mock(_request(content) + b"GET /v1/models HTTP/1.1\r\n\r\n")
    head, *frames, models = transport.writes
    assert b"transfer-encoding: chunked" in head
    *chunks, done = _events(frames)
    assert done == b"[DONE]"
    decoded = [json.loads(chunk) for chunk in chunks]
    assert len({chunk["id"] for chunk in decoded}) == 1
    assert sum(bool(chunk["choices"]) for chunk in decoded) == FRAMES
    assert ("usage" in decoded[-1]) == with_usage
    assert json.loads(models.partition(b"\r\n\r\n")[2])["data"][0]["id"] == MODEL


async def test_the_mock_stops_a_stream_that_nobody_reads_and_closes_when_asked() -> None:
    started = await _mock(_request(b'{"stream": true}'), turns=3)
    started.close()
    seen = len(started.writes)
    await asyncio.sleep(0.001)
    assert len(started.writes) <= seen + 1
    assert (await _mock(_request(b"{}", b"Connection: close\r\n"))).closed
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"411" in (await _mock(chunked)).writes[0]


async def test_the_probe_measures_paced_streams_over_a_socket() -> None:
    loop = asyncio.get_running_loop()
    answers = Answers(FRAMES)
    server = await loop.create_server(lambda: MockEngine(answers, loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    paced = body("any", stream=True, paced="paced:5:4")
    delays = await asyncio.to_thread(
        lambda: tokens.measure(
            f"http://127.0.0.1:{port}", "/v1/chat/completions", {}, paced,
            streams=3, frames=4, interval_ms=5,
        )
    )  # fmt: skip
    server.close()
    assert (delays.problem, delays.measured, delays.streams) == ("", 9, 3)
    assert 0 <= delays.p50_us <= delays.p99_us <= 1e6


def test_added_inter_token_time_is_what_arrivals_differ_from_stamps() -> None:
    ms = 1_000_000
    reads = [
        (10 * ms, b"HTTP/1.1 200 OK\r\n\r\n"),
        (11 * ms, b'{"content":"t:%020d"}' % (10 * ms)),
        (34 * ms, b'{"content":"t:%020d"}{"content":"t:00000' % (30 * ms)),  # 3 ms late
        (52 * ms, b'%015d"}' % (50 * ms)),  # cut in two: it arrives with its end
    ]
    times = tokens.frame_times(reads)
    assert times == [(10 * ms, 11 * ms), (30 * ms, 34 * ms), (50 * ms, 52 * ms)]
    assert tokens.added_times(times) == [3 * ms, 0]
    delays = tokens.summarise([reads, reads], frames=4, interval_ms=20)
    assert (delays.p50_us, delays.p99_us, delays.worst_p99_us) == (0, 3000, 3000)
    assert delays.problem == "6 of 8 frames came in time"
    refused = tokens.summarise([[(1, b"HTTP/1.1 429 Too Many Requests\r\n\r\n")]], 4, 20)
    assert (refused.problem, refused.measured) == ("status 429", 0)


def test_percentiles_are_nearest_rank() -> None:
    assert tokens.percentile(range(1, 101), 50) == 50
    assert tokens.percentile(range(1, 101), 99) == 99
    assert tokens.percentile([7], 99) == 7
    assert tokens.percentile([], 99) == 0


def test_processor_time_and_memory_of_children_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PERIOD_S", 0.05)
    burn = "import time\nprint(flush=True)\nwhile time.process_time() < 0.2: pass\ninput()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        used = usage.settled(process.pid)
        assert len(usage.tree(process.pid)) == 2
        assert 0.2 <= used.cpu_s < 2
        assert 0 < used.rss_mb <= used.peak_mb
    finally:
        process.communicate(b"\n")
    assert usage.of(process.pid) == Usage(0, 0, 0)


def test_a_process_name_with_brackets_and_spaces_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_PROC", tmp_path)
    (tmp_path / "7").mkdir()
    fields = " ".join(["S", "1", *["0"] * 9, "100", "50", "25", "25", "0"])
    (tmp_path / "7" / "stat").write_text(f"7 (a) b (c) {fields}")
    (tmp_path / "7" / "status").write_text("Name:\ta\nVmHWM:\t 2000 kB\nVmRSS:\t 1000 kB\n")
    found = usage.of(7)
    assert found.cpu_s == pytest.approx(200 / usage._TICKS_PER_S)
    assert (found.rss_mb, found.peak_mb) == (1.024, 2.048)


def test_a_run_on_one_core_ends_where_it_was() -> None:
    cores = os.sched_getaffinity(0)
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with placement.one_core():
        inside = [os.sched_getaffinity(0), os.sched_getaffinity(child.pid)]
    after = [os.sched_getaffinity(0), os.sched_getaffinity(child.pid)]
    child.communicate(b"\n")
    assert inside == [{max(cores)}] * 2
    assert after == [cores] * 2


def test_left_time_is_the_plans(capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    empty = Results("", "", results.machine(), 5.0, 1, {})
    sessions = bench.plan(bench.SYSTEMS[:1], 1, empty)
    progress = bench.Progress(sessions, 5.0)
    before_s = progress.left_s
    progress.step(sessions[0], STEPS[1], "p50 1 ms")
    assert progress.left_s == before_s - 5
    assert "direct         whole at 1" in capsys.readouterr().err
    assert time.monotonic() - started < 1
