"""One tree of errors and the one JSON shape in which they reach a client.

    GatewayError                     status  type
    ├── InvalidRequest               400     invalid_request_error
    │   └── BodyTooLarge             413     invalid_request_error
    ├── AuthenticationFailed         401     authentication_error
    ├── PermissionDenied             403     permission_error
    ├── NotFound                     404     not_found_error
    ├── MethodNotAllowed             405     invalid_request_error
    ├── RequestTimeout               408     timeout_error
    ├── Conflict                     409     conflict_error
    ├── RateLimited                  429     rate_limit_error
    ├── HeadersTooLarge              431     invalid_request_error
    ├── EngineFailed                 502     engine_error
    ├── Unavailable                  503     service_unavailable_error   (Retry-After)
    └── EngineTimeout                504     timeout_error

The shape is OpenAI's error object:
https://platform.openai.com/docs/guides/error-codes/api-errors. To add an error, derive a class
here, give it its status and type, and raise it: every route already renders it.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class GatewayError(Exception):
    """An error that a client sees.

    Args:
        message: What is wrong and what would be right, for a person.
        code: A stable word for programs, such as `model_not_found`.
        param: The field of the request at fault, where there is one.
        retry_after: Seconds after which a retry may succeed; sent as `Retry-After`.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> bytes:
        """Return the JSON document `{"error": {message, type, param, code}}`."""
        return error_body(self.message, self.type, self.code, self.param)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that belong to the error."""
        if self.retry_after is None:
            return []
        return [(b"retry-after", str(self.retry_after).encode())]


class InvalidRequest(GatewayError):
    status, type = 400, "invalid_request_error"


class BodyTooLarge(InvalidRequest):
    status = 413


class AuthenticationFailed(GatewayError):
    status, type = 401, "authentication_error"

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"www-authenticate", b"Bearer")]


class PermissionDenied(GatewayError):
    status, type = 403, "permission_error"


class NotFound(GatewayError):
    status, type = 404, "not_found_error"


class MethodNotAllowed(GatewayError):
    status, type = 405, "invalid_request_error"


class RequestTimeout(GatewayError):
    status, type = 408, "timeout_error"


class Conflict(GatewayError):
    """What is asked does not fit the state of things; another may have been first."""

    status, type = 409, "conflict_error"


class RateLimited(GatewayError):
    """A limit of the key is reached; `limits` are its `x-ratelimit-*` headers."""

    status, type = 429, "rate_limit_error"
    limits: Sequence[tuple[bytes, bytes]] = ()

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers(), *self.limits]


class HeadersTooLarge(GatewayError):
    status, type = 431, "invalid_request_error"


class EngineFailed(GatewayError):
    status, type = 502, "engine_error"


class Unavailable(GatewayError):
    status, type = 503, "service_unavailable_error"


class EngineTimeout(GatewayError):
    status, type = 504, "timeout_error"


def error_body(message: str, type_: str, code: str | None, param: str | None) -> bytes:
    """Return OpenAI's error object as JSON."""
    return msgspec.json.encode(
        {"error": {"message": message, "type": type_, "param": param, "code": code}}
    )
