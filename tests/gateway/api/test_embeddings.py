"""`/v1/embeddings` with the official client and a retrieval service of its own process."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.store.keys import Keys
from tests.gateway.running import ROOT, RunningGateway, running_gateway, wait


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    home = tmp_path_factory.mktemp("embeddings")
    command = [sys.executable, "-m", "gateway.cli", "retrieval", "serve", "--model", "hash"]
    socket = home / "run" / "retrieval.sock"
    process = subprocess.Popen([*command, "--socket", str(socket)], cwd=ROOT, env=os.environ)
    try:
        wait(socket.exists, 20)
        with running_gateway(home, embedder="hash-64") as running:
            yield running
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_the_official_client_embeds(gateway: RunningGateway) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        answer = client.embeddings.create(model="hash-64", input=["one two", "one two", "three"])
        numbers = client.embeddings.create(
            model="hash-64", input="one two", encoding_format="float"
        )
    first, second, third = (item.embedding for item in answer.data)
    assert first == second != third
    assert math.isclose(sum(x * x for x in first), 1, rel_tol=1e-5)
    assert answer.usage.prompt_tokens == 5
    assert numbers.data[0].embedding == pytest.approx(first)


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"input": ""}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": [1, 2, 3]}, 400, "input"),
        ({"input": ["x"] * 2049}, 400, "input"),
        ({"input": "x", "dimensions": 3}, 400, "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"input": "x", "model": "other"}, 404, "model"),
    ],
)
def test_mistakes_are_named(
    gateway: RunningGateway, fields: dict[str, Any], status: int, param: str
) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/embeddings", json={"model": "hash-64", **fields})
    assert answer.status_code == status
    assert (answer.json()["error"]["param"] or "").split(".")[0] == param


def test_a_key_with_inference_is_needed(gateway: RunningGateway) -> None:
    body = {"model": "hash-64", "input": "x"}
    answer = httpx.post(f"{gateway.url}/v1/embeddings", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key")
    _, text = Keys(gateway.database).create("narrow", ["feedback"])
    with gateway.client(text) as client:
        wait(lambda: client.post("/v1/embeddings", json=body).status_code != 401)
        assert client.post("/v1/embeddings", json=body).status_code == 403


def test_without_the_service_it_is_503(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="hash-64") as gateway, gateway.client() as client:
        answer = client.post("/v1/embeddings", json={"model": "hash-64", "input": "x"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "embedder_unavailable"
    assert "retry-after" in answer.headers
