"""One question to an engine, `GET /health`, over its Unix socket or port."""

import asyncio

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
