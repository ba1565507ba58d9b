"""The HTTP of the monitor's exporter: few connections, each for a bounded time."""

import base64
import binascii
import contextlib
import hmac
import ipaddress
import logging
import shutil
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.store.database import StoreError
from gateway.store.monitoring import Monitoring
from monitoring.report_files import HEADERS, ReportFiles
from monitoring.webhook import BadWebhook, Webhook

_log = logging.getLogger(__name__)
_MAX_CONNECTIONS = 16
_MAX_BODY = 1 << 20
# Of one read, and of a whole connection: who dawdles must not keep a place.
_READ_S = 10.0
_CONNECTION_S = 60.0


class Parts(NamedTuple):
    """What is served; see `monitoring.exporter.Exporter`."""

    registry: CollectorRegistry
    webhook: Webhook
    monitoring: Monitoring
    reports: ReportFiles | None
    token: str | None


class ExporterServer(ThreadingHTTPServer):
    """A thread for each of a bounded number of connections.

    Args:
        address: Host and port to listen on.
        parts: What is served.

    Raises:
        OSError: The address cannot be had.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], parts: Parts) -> None:
        self.parts = parts
        self.is_local = _is_loopback(address[0])
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread, where there is a place."""
        if not self._places.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, and cut the connection when its time is over."""
        cut = threading.Timer(_CONNECTION_S, _cut, (request,))
        cut.daemon = True
        cut.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection, but for one that the other side closed."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            _log.warning("a request to the exporter failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: ExporterServer
    timeout = _READ_S
    server_version, sys_version = "driftgate-monitor", ""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/metrics":
            self._answer(200, generate_latest(self.server.parts.registry), CONTENT_TYPE_LATEST)
        elif path.startswith("/reports/"):
            self._report(path.removeprefix("/reports/"), query)
        else:
            self._refuse(404, "there is /metrics and /reports/latest?alias=…")

    def do_POST(self) -> None:
        if urlsplit(self.path).path != "/alertmanager":
            return self._refuse(404, "there is /alertmanager")
        if self.server.parts.token is None:
            return self._refuse(403, "the monitor has no token: set DRIFTGATE_MONITOR_TOKEN_FILE")
        if not self._has_token():
            return self._refuse(401, "the bearer token is missing or wrong", "authorization")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self._refuse(411, "the length of the body must be told", "content-length")
        if int(length) > _MAX_BODY:
            return self._refuse(413, f"a body has at most {_MAX_BODY} bytes", "content-length")
        try:
            received = self.server.parts.webhook.receive(self.rfile.read(int(length)))
        except BadWebhook as error:
            return self._refuse(400, str(error), error.field)
        except StoreError as error:
            _log.warning("an alert could not be written: %s", error)
            return self._refuse(503, "the store is away")
        for id in received.opened:
            _log.info("an alert asks for a retraining: %s", id)
        self._answer(200, msgspec.json.encode(received), "application/json")

    def _report(self, path: str, query: str) -> None:
        reports = self.server.parts.reports
        if self.server.parts.token is None and not self.server.is_local:
            return self._refuse(403, "the monitor has no token: set DRIFTGATE_MONITOR_TOKEN_FILE")
        if self.server.parts.token is not None and not self._has_token():
            ask = {"WWW-Authenticate": 'Basic realm="any name, and the monitor\'s token"'}
            return self._refuse(401, "reports need the monitor's token", headers=ask)
        if path == "latest":
            return self._latest(query)
        found = None if reports is None else reports.find(path)
        if found is None:
            return self._refuse(404, "there is no such report")
        file, kind = found
        with file.open("rb") as opened:
            self._head(200, kind, file.stat().st_size, HEADERS)
            shutil.copyfileobj(opened, self.wfile)

    def _latest(self, query: str) -> None:
        """Lead on to the last report of an alias, and of a release where one is named."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        try:
            states = self.server.parts.monitoring.states()
        except StoreError:
            return self._refuse(503, "the store is away")
        reports = [
            (state.updated_at, state.report)
            for state in states
            if state.report
            and state.alias == asked.get("alias")
            and asked.get("release") in (None, "", state.release)
        ]
        if not reports:
            return self._refuse(404, "this alias has no report yet", "alias")
        to = {"Location": "/reports/" + quote(max(reports)[1].removeprefix("/reports/"))}
        self._answer(302, b"", "text/plain", to)

    def _has_token(self) -> bool:
        """Whether the request shows the token: as a bearer, or as a browser's password."""
        token = self.server.parts.token or ""
        kind, _, shown = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                shown = base64.b64decode(shown, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(shown.strip().encode(), token.encode())

    def _refuse(
        self,
        status: int,
        message: str,
        field: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        error = {"error": {"message": message, "field": field}}
        self._answer(status, msgspec.json.encode(error), "application/json", headers)

    def _answer(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self._head(status, kind, len(body), headers or {})
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int, headers: dict[str, str]) -> None:
        self.send_response(HTTPStatus(status))
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
