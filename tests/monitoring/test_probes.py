"""Golden probes: read with errors that name the line, and asked through a real gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.store.traffic import Traffic
from monitoring.probes import (
    MOST_PROBES,
    Answered,
    Asker,
    Match,
    Probe,
    ProbesInvalid,
    load,
    losses_by_release,
)
from monitoring.requests import PROBE
from monitoring.windows import Conversations, cut
from tests.gateway.running import RunningGateway, running_gateway, wait


def line(**fields: Any) -> str:
    known = {"id": "p1", "messages": [{"role": "user", "content": "two euros"}], "expected": "x"}
    return json.dumps(known | fields)


def probe(id: str, asked: str, expected: str, match: Match = "exact") -> Probe:
    return Probe(id, ({"role": "user", "content": asked},), expected, match)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway over the stub engine, which answers with what it was asked."""
    with running_gateway(tmp_path_factory.mktemp("probes"), embedder="") as running:
        yield running


@pytest.fixture
async def asker(gateway: RunningGateway) -> AsyncIterator[Asker]:
    asker = Asker(gateway.url, gateway.key, timeout_s=20)
    yield asker
    await asker.close()


def test_a_file_of_probes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "production.jsonl"
    path.write_text(line() + "\n\n" + line(id="p2", match="number", expected="1,000.5") + "\n")
    first, second = load(path)
    assert first == probe("p1", "two euros", "x")
    assert (second.id, second.match) == ("p2", "number")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "2: "),
        ("[]", "2: a probe is a JSON object"),
        ("\udcff", "2: "),
        ("[" * 100_000, "2: "),
        (line(), "2: the id `p1` was there before"),
        (line(id=""), "2: `id` must be"),
        (line(id="a b"), "2: `id` must be"),
        (line(id="p2", messages=[]), "2: `messages` must be"),
        (line(id="p2", messages=["hi"]), "2: each of `messages`"),
        (line(id="p2", expected=5), "2: `expected` must be a text"),
        (line(id="p2", expected=" "), "2: `expected` must be a text"),
        (line(id="p2", match="like"), "2: `match` must be one of exact, contains, json, number"),
        (line(id="p2", match="json", expected="{"), "2: `expected` is no JSON"),
        (line(id="p2", match="number", expected="many"), "2: `expected` is no number"),
        (line(id="p2", answer="x"), "2: unknown field `answer`"),
    ],
)
def test_a_line_that_is_no_probe_is_named(bad: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "production.jsonl"
    path.write_text(f"{line()}\n{bad}\n", errors="surrogateescape")
    with pytest.raises(ProbesInvalid) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{message}")


def test_files_have_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("\n".join(line(id=f"p{i}") for i in range(MOST_PROBES + 1)))
    with pytest.raises(ProbesInvalid, match=f":{MOST_PROBES + 1}: more than"):
        load(path)
    path.write_bytes(b" " * 3_000_000)
    with pytest.raises(ProbesInvalid, match="larger than"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("match", "expected", "answer", "loss"),
    [
        ("exact", "Two  euros", " two EUROS\n", 0),
        ("exact", "two euros", "two euros.", 1),
        ("contains", "two euros", "It costs TWO\neuros today.", 0),
        ("contains", "two euros", "It costs two", 1),
        ("number", "1000.5", "It is 1,000.50 in all.", 0),
        ("number", "2", "Between 1 and 2 days", 0),
        ("number", "2", "12 days", 1),
        ("number", "2", "none", 1),
        ("json", '{"a": [1, 2.0]}', '{ "a": [1.0, 2] }', 0),
        ("json", '{"a": 1}', '{"a": true}', 1),
        ("json", '{"a": 1}', '{"a": 1, "b": 2}', 1),
        ("json", "null", "null", 0),
        ("json", '{"a": 1}', "[" * 100_000, 1),
        ("exact", "x", "", 1),
    ],
)
def test_answers_match_by_their_rule(match: Match, expected: str, answer: str, loss: float) -> None:
    assert probe("p", "?", expected, match).loss(answer) == loss


async def test_probes_go_through_the_gateway_and_name_the_release(asker: Asker) -> None:
    right = probe("right", "A transfer costs two euros", "two euros", "contains")
    wrong = probe("wrong", "A transfer costs three euros", "two euros", "contains")
    answered = await asker.ask("production", [right, wrong])
    assert answered == [
        Answered("right", "production-1", 0.0),
        Answered("wrong", "production-1", 1.0),
    ]
    assert losses_by_release(answered) == {"production-1": [0.0, 1.0]}


async def test_probes_are_recorded_and_yet_in_no_window(
    asker: Asker, gateway: RunningGateway
) -> None:
    await asker.ask("production", [probe("unique-probe", "a question of its own", "x")])
    with gateway.client() as client:
        plain = client.post("/v1/chat/completions", json={
            "model": "production", "messages": [{"role": "user", "content": "of a person"}],
        }).json()["id"]  # fmt: skip
    gateway.record(plain)
    traffic = Traffic(gateway.database)
    wait(lambda: bool(traffic.page(metadata={PROBE: "unique-probe"})[0]))
    records, _ = traffic.page(limit=100)
    window, _ = cut(records, Conversations(), 100)
    assert plain in {each.id for each in window.requests}
    assert not any(each.prompt == "a question of its own" for each in window.requests)
    assert window.left_out == 0


async def test_an_error_is_no_wrong_answer(asker: Asker, gateway: RunningGateway) -> None:
    answered = await asker.ask("no-such-alias", [probe("p", "?", "x")])
    assert answered == [Answered("p", None, None, "http 404")]
    assert losses_by_release(answered) == {}
    stranger = Asker(gateway.url, "dg-wrong-key")
    assert [each.error for each in await stranger.ask("production", [probe("p", "?", "x")])] == [
        "http 401"
    ]
    await stranger.close()


async def test_a_gateway_that_is_away_or_silent_is_an_error() -> None:
    away = Asker("http://127.0.0.1:9", "key")
    assert (await away.ask("production", [probe("p", "?", "x")]))[0].error == (
        "unreachable: ConnectError"
    )
    await away.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    slow = Asker(f"http://127.0.0.1:{port}", "key", timeout_s=0.2)
    answered = await slow.ask("production", [probe("p", "?", "x"), probe("q", "?", "x")])
    assert [each.error for each in answered] == ["timeout", "timeout"]
    await slow.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"<html>", "no chat completion"), (b"{}", "no chat completion"),
     (b" " * 1_100_000, "the answer is too long")],
)  # fmt: skip
async def test_an_answer_that_is_no_chat_completion_is_an_error(body: bytes, error: str) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        try:
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(odd, "127.0.0.1", 0)
    asker = Asker(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
    answered = await asker.ask("production", [probe("p", "?", "x")])
    assert answered[0].error == error
    assert answered[0].loss is None
    await asker.close()
    server.close()
    await server.wait_closed()
