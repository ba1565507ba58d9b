"""Writes the hot routes, which FastAPI does not serve, into its OpenAPI document.

Only what the gateway itself reads is constrained; every further field passes to the engine.
"""

from typing import Any

from fastapi import FastAPI

_TEXT: dict[str, Any] = {"type": "string"}
_COMMON: dict[str, Any] = {
    "model": {"type": "string", "description": "An alias or a release id."},
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {
        "type": ["object", "null"],
        "properties": {"include_usage": {"type": ["boolean", "null"]}},
    },
    "metadata": {
        "type": ["object", "null"],
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 512},
    },
    "store": {"type": ["boolean", "null"], "description": "false keeps the texts out of the log."},
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
    "top_p": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
    "seed": {"type": ["integer", "null"]},
}
_MAX_TOKENS = {"type": ["integer", "null"], "minimum": 1}
_STOP = {"type": ["string", "array", "null"], "items": {"type": "string"}}
_MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["system", "user", "assistant"]},
        "content": {"type": "string"},
    },
}
_ROUTES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "/v1/chat/completions": (
        "Answer a conversation",
        "messages",
        {
            "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
            "max_completion_tokens": _MAX_TOKENS,
            "max_tokens": _MAX_TOKENS,
            "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 4},
            "stop": _STOP,
            "tools": {"type": ["array", "null"], "items": {"type": "object"}},
            "response_format": {"type": ["object", "null"]},
            "logprobs": {"type": ["boolean", "null"]},
        },
    ),
    "/v1/completions": (
        "Continue a text",
        "prompt",
        {
            "prompt": {"type": ["string", "array"], "minLength": 1},
            "max_tokens": _MAX_TOKENS,
            "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 4},
            "stop": _STOP,
        },
    ),
    "/v1/responses": (
        "Answer with the Responses API",
        "input",
        {"input": {"type": ["string", "array"]}, "max_output_tokens": _MAX_TOKENS},
    ),
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_STATUS = {
    "400": "The request is malformed; the error names the field.",
    "401": "No key, or one that is not known.",
    "403": "The key lacks the scope.",
    "404": "No such thing.",
    "405": "The path does not take this method.",
    "408": "The body did not arrive in time.",
    "409": "What is asked does not fit the state of things; another may have been first.",
    "413": "The body is too large.",
    "502": "The engine answered badly.",
    "503": "No engine is ready; see Retry-After.",
    "504": "The engine did not answer in time.",
}


def document(api: FastAPI) -> None:
    """Make `api.openapi()` tell of the hot routes and of the one shape of errors."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            schema = generate()
            for path, (summary, field, properties) in _ROUTES.items():
                schema["paths"].setdefault(path, {})["post"] = _operation(
                    summary, field, properties
                )
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["Error"] = _ERROR
            for operations in schema["paths"].values():
                for operation in operations.values():
                    _add_errors(operation)
            api.openapi_schema = schema
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _operation(summary: str, field: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "tags": ["inference"],
        "summary": summary,
        "security": [{"HTTPBearer": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["model", field],
                        "properties": {**_COMMON, **properties},
                    }
                }
            },
        },
        "responses": {
            "200": {
                "description": "The answer, as JSON or as server-sent events.",
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            }
        },
    }


def _add_errors(operation: dict[str, Any]) -> None:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own shape; here a bad request is a 400
    for status, description in _STATUS.items():
        known = responses.setdefault(status, {"description": description})
        known.setdefault("content", content)
