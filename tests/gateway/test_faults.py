"""What a client hears when an engine fails: which status, and whether a retry may help."""

import pytest

from gateway import faults
from gateway.connection import BadAnswer, ConnectFailed, ConnectionBroken, UpstreamTimeout
from gateway.errors import (
    EngineFailed,
    EngineTimeout,
    GatewayError,
    InvalidRequest,
    NotFound,
    Unavailable,
)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409, 413, 422, 499])
def test_what_the_engine_rejects_any_engine_would(status: int) -> None:
    error = faults.refusal(status, b'{"error": {"message": "too long", "code": 400}}')
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.message, error.code) == (400, "too long", "engine_rejected")


def test_a_model_that_the_engine_does_not_know_is_404() -> None:
    error = faults.refusal(404, b'{"message": "no such model"}')
    assert isinstance(error, NotFound)
    assert (error.message, error.code) == ("no such model", "engine_not_found")


@pytest.mark.parametrize("status", [429, 503])
def test_an_engine_with_too_much_to_do_is_not_broken(status: int) -> None:
    error = faults.refusal(status, b'{"error": "full"}')
    assert isinstance(error, faults.Overloaded)
    assert not isinstance(error, GatewayError | faults.EngineError)
    assert (error.answer.status, error.answer.code, error.answer.retry_after) == (
        503, "engine_overloaded", 1,
    )  # fmt: skip
    assert error.answer.message == "full"


@pytest.mark.parametrize("status", [500, 502, 504, 599, 301, 204, 100])
def test_any_other_answer_is_the_engines_fault(status: int) -> None:
    error = faults.refusal(status, b"<html>")
    assert isinstance(error, faults.EngineError)
    told = faults.translate(error)
    assert isinstance(told, EngineFailed)
    assert (told.status, told.message) == (502, "the engine answered with an error")


@pytest.mark.parametrize(
    "document", [b"", b"\xff", b"null", b"7", b'{"error": null}', b"[" * 100_000, b'{"error":[]}']
)
def test_no_error_document_is_too_strange(document: bytes) -> None:
    error = faults.refusal(500, document)
    assert isinstance(error, faults.EngineError)
    assert 0 < len(str(error)) <= 2000


def test_a_long_message_is_cut() -> None:
    error = faults.refusal(400, b'{"error": {"message": "%b"}}' % (b"x" * 100_000))
    assert isinstance(error, InvalidRequest)
    assert len(error.message) == 2000


@pytest.mark.parametrize(
    ("error", "kind", "status", "code", "retry_after"),
    [
        (UpstreamTimeout("silent"), EngineTimeout, 504, "engine_timeout", None),
        (BadAnswer("not HTTP"), EngineFailed, 502, "engine_error", None),
        (ConnectionBroken("gone"), Unavailable, 503, "engine_unavailable", 2),
        (
            ConnectFailed("cannot connect to unix:/secret"),
            Unavailable,
            503,
            "engine_unavailable",
            2,
        ),
    ],
)
def test_a_failed_exchange(
    error: Exception, kind: type[GatewayError], status: int, code: str, retry_after: int | None
) -> None:
    told = faults.translate(error)  # type: ignore[arg-type]
    assert type(told) is kind
    assert (told.status, told.code, told.retry_after) == (status, code, retry_after)
    assert "secret" not in told.message, "where an engine listens is nobody's business"
