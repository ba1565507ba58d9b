"""Questions to an engine over its Unix socket or port: its health, and its own routes."""

import asyncio
import json
from collections.abc import Mapping

from gateway.engines.base import host_and_port, socket_path

_REQUEST = b"GET /health HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"


async def is_healthy(address: str, timeout_s: float) -> bool:
    """Return whether the engine answers 200 within `timeout_s`; costs it no tokens."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _open(address)
            try:
                writer.write(_REQUEST)
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    parts = status.split(None, 2)
    return len(parts) > 1 and parts[0].startswith(b"HTTP/1.") and parts[1] == b"200"


async def post(
    address: str, path: str, document: Mapping[str, str], timeout_s: float
) -> tuple[int, bytes]:
    """Post a JSON object; returns the answer's status and body.

    Raises:
        OSError: The engine cannot be reached, or ends in mid-answer.
        TimeoutError: It took longer than `timeout_s` seconds.
        ValueError: It answers something that is no HTTP.
    """
    body = json.dumps(document).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with asyncio.timeout(timeout_s):
        reader, writer = await _open(address)
        try:
            writer.write(head.encode() + body)
            answer = await reader.read(-1)
        finally:
            writer.close()
    lines, found, content = answer.partition(b"\r\n\r\n")
    parts = lines.split(None, 2)
    if not found or len(parts) < 2 or not parts[1].isdigit():
        raise ValueError(f"no answer in HTTP: {answer[:60]!r}")
    return int(parts[1]), content


async def is_taken(address: str) -> bool:
    """Return whether anything at all accepts connections there."""
    try:
        async with asyncio.timeout(2.0):
            _, writer = await _open(address)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    path = socket_path(address)
    if path is not None:
        return await asyncio.open_unix_connection(path)
    return await asyncio.open_connection(*host_and_port(address))
