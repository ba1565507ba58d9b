"""The smallest JSON value that a JSON schema allows, for the echo engine's structured answers.

Keywords: const, enum, $ref (inside the document), anyOf, oneOf, allOf, type, properties, required,
items, minItems, minLength, minimum, exclusiveMinimum. `pattern` and `format` are not followed.
"""

from typing import Any

_DEEPEST = 16
_MOST_VALUES = 5000
_LONGEST = 1000


def minimal_instance(schema: Any) -> Any:
    """Return a value for `schema`; None for a part that it cannot make sense of."""
    return _Builder(schema).build(schema, 0)


class _Builder:
    """Builds one instance; the number of values is limited, since schemas may refer in circles."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MOST_VALUES

    def build(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        if "$ref" in schema:
            return self.build(self._resolve(schema["$ref"]), depth + 1)
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list) and schema[word]:
                return self.build(schema[word][0], depth + 1)
        if isinstance(schema.get("allOf"), list):
            return self.build(self._merged(schema), depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else None)
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                properties = _dict(schema.get("properties"))
                names = schema.get("required")
                names = names if isinstance(names, list) else list(properties)
                return {
                    name: self.build(properties.get(name), depth + 1)
                    for name in names
                    if isinstance(name, str)
                }
            case "array":
                count = min(_whole(schema.get("minItems")), max(self._left, 0))
                return [self.build(schema.get("items"), depth + 1) for _ in range(count)]
            case "string":
                return "x" * _whole(schema.get("minLength"))
            case "integer" | "number":
                return _smallest_number(schema)
            case "boolean":
                return False
            case _:
                return None

    def _resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if name:
                found = found.get(name) if isinstance(found, dict) else None
        return found

    def _merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for each in schema["allOf"]:
            refers = isinstance(each, dict) and "$ref" in each
            part = _dict(self._resolve(each["$ref"]) if refers else each)
            properties = _dict(merged.get("properties")) | _dict(part.get("properties"))
            required = [*_list(merged.get("required")), *_list(part.get("required"))]
            merged = {**part, **merged}
            if properties:
                merged |= {"properties": properties, "required": required}
        return {name: value for name, value in merged.items() if name != "allOf"}


def _smallest_number(schema: dict[str, Any]) -> int | float:
    minimum, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    if isinstance(above, int | float) and not isinstance(above, bool):
        return above + 1
    if isinstance(minimum, int | float) and not isinstance(minimum, bool):
        return minimum
    return 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int:
    return min(value, _LONGEST) if isinstance(value, int) and value > 0 else 0
