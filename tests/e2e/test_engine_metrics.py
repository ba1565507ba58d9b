"""What Prometheus asks of engines, asked of a real vLLM's own metrics.

The vLLM of these tests listens on a Unix socket, which Prometheus cannot scrape; with
DRIFTGATE_ENGINE_HOST it listens on TCP. So a page of Python hands each scrape on to the socket.
"""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.gateway.running import ROOT, wait
from tests.installed import installed
from tests.monitoring.scraped import free_port, running
from tests.monitoring.test_queries import _EMPTY, _STUB, _queries

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = [pytest.mark.engine, pytest.mark.services]


@contextlib.contextmanager
def _handed_on(path: Path) -> Iterator[str]:
    """Serve the metrics of an engine's Unix socket on TCP; yields host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            transport = httpx.HTTPTransport(uds=str(path))
            with httpx.Client(transport=transport, base_url="http://engine", timeout=10) as client:
                answer = client.get(self.path)
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _configuration(target: str) -> dict[str, Any]:
    """Return our own configuration of Prometheus, with this engine alone, scraped each second."""
    ours = yaml.safe_load((ROOT / "monitoring" / "prometheus" / "prometheus.yml").read_text())
    (engines,) = [job for job in ours["scrape_configs"] if job["job_name"] == "engines"]
    engines["static_configs"] = [{"targets": [target], "labels": {"slot": "blue"}}]
    return {"global": {"scrape_interval": "1s"}, "scrape_configs": [engines]}


def test_every_query_about_engines_has_data_from_a_real_vllm(
    served: "Served", tmp_path: Path
) -> None:
    program = installed("prometheus", "prometheus")
    asked = {name: query for name, query in _queries().items() if "vllm:" in query}
    # What has no data from the stub is asked here, and nothing is left out.
    assert {name for name, why in _EMPTY.items() if why == _STUB} <= asked.keys()
    path = served.home / "run" / "engine-blue.sock"  # another may have been in the other slot
    served.client().chat.completions.create(
        model="production", messages=[{"role": "user", "content": "Say hello."}], max_tokens=4
    )
    url = f"http://127.0.0.1:{free_port()}"
    with _handed_on(path) as target, httpx.Client(base_url=url, timeout=20) as client:
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(_configuration(target)))
        command = [
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
        ]
        with running(command, tmp_path / "log", f"{url}/-/ready"):

            def series(query: str) -> list[Any]:
                answer = client.get("/api/v1/query", params={"query": query}).json()
                assert answer["status"] == "success", answer
                return [each for each in answer["data"]["result"] if each["value"][1] != "NaN"]

            wait(lambda: bool(series('up{job="engines"} == 1')), 30)
            for name, query in asked.items():
                assert series(query), f"{name}: {query}"
            assert series('{__name__=~"vllm:.+|process_.+"}')
