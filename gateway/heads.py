"""What the head of a request says: which hot path, who calls, how large its body is."""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

import httptools

from gateway.call import Call
from gateway.errors import (
    BodyTooLarge,
    HeadersTooLarge,
    InvalidRequest,
    RequestTimeout,
    Unavailable,
)
from gateway.tracing.context import Sampler

Head = Sequence[tuple[bytes, bytes]]
# What an offer of another protocol consists of (RFC 9110, section 7.8).
_OFFER = (b"upgrade", b"connection", b"http2-settings")


def spelt_otherwise(url: bytes, urls: Mapping[bytes, str]) -> str | None:
    """Return the hot path behind a URL with a query, escapes or a host, if it is one."""
    try:
        path = unquote_to_bytes(httptools.parse_url(url).path or b"")
    except httptools.HttpParserInvalidURLError:
        return None
    return urls.get(path)


def read_into(
    call: Call, headers: Head, body_bytes: int, sampler: Sampler | None
) -> InvalidRequest | None:
    """Take from the headers what a call needs; returns what is wrong with them.

    Args:
        call: The call.
        headers: Names in lower case, and values.
        body_bytes: Largest body.
        sampler: Begins its trace; None: it is not traced.
    """
    if sampler is not None:
        call.trace = sampler.begin(headers)
    for name, value in headers:
        if name == b"authorization":
            if call.authorization is not None:
                return InvalidRequest("More than one Authorization.", code="invalid_http")
            call.authorization = value
        elif name == b"content-length":
            call.content_length = int(value)  # the parser has checked it
            if call.content_length > body_bytes:
                return too_large(body_bytes)
    return None


def without_offer(method: bytes, url: bytes, headers: Head) -> bytes:
    """Return the head of a request that offered another protocol, without the offer."""
    kept = [b"%b: %b\r\n" % (name, value) for name, value in headers if name not in _OFFER]
    if any(name == b"connection" and b"close" in value.lower() for name, value in headers):
        kept.append(b"connection: close\r\n")
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, url, b"".join(kept))


def too_large(limit: int) -> BodyTooLarge:
    """Return the error of a body of more than `limit` bytes."""
    return BodyTooLarge(f"The body is larger than {limit} bytes.", code="body_too_large")


def late(what: str, limit_s: float) -> RequestTimeout:
    """Return the error of headers or a body that took longer than `limit_s` seconds."""
    return RequestTimeout(
        f"The {what} did not arrive within {limit_s:g} s.", code=f"{what}_timeout"
    )


def too_long(limit: int) -> HeadersTooLarge:
    """Return the error of headers of more than `limit` bytes."""
    return HeadersTooLarge(f"The headers are larger than {limit} bytes.", code="large_headers")


def too_many(limit: int) -> Unavailable:
    """Return the error of a connection beyond `limit`."""
    return Unavailable(
        f"More than {limit} connections. Try again shortly.",
        code="too_many_connections",
        retry_after=1,
    )
