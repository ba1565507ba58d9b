"""Format validity: an answer is a JSON document, and one of the given schema."""

import json
from pathlib import Path
from typing import Any

from training.evaluation.metrics.exact import document, is_document


class SchemaError(ValueError):
    """A file that is no JSON schema."""


class JsonFormat:
    """Checks answers against JSON Schema (https://json-schema.org), or for being JSON at all.

    Args:
        schema: The schema, or None.

    Raises:
        SchemaError: It is no schema.
    """

    def __init__(self, schema: dict[str, Any] | None = None) -> None:
        self._validator: Any = None
        if schema is not None:
            import jsonschema

            kind = jsonschema.validators.validator_for(schema)
            try:
                kind.check_schema(schema)
            except jsonschema.SchemaError as error:
                raise SchemaError(f"this is no JSON schema: {error.message}") from error
            self._validator = kind(schema)

    def valid(self, answer: str) -> bool:
        """Return whether an answer is a valid document and nothing else."""
        if not is_document(answer):
            return False
        return self._validator is None or bool(self._validator.is_valid(document(answer)))


def read_schema(path: Path) -> dict[str, Any]:
    """Read a schema from a file.

    Raises:
        SchemaError: The file cannot be read, or holds no JSON object.
    """
    try:
        schema = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SchemaError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(schema, dict):
        raise SchemaError(f"{path} holds no JSON object")
    return schema
