"""OpenAI's tool `file_search` in a request: read here, and kept from the engine, which has none."""

import msgspec

from gateway.bodies import FileSearch, Retrieval
from gateway.errors import InvalidRequest

_KIND = "file_search"


class _Tool(msgspec.Struct):
    type: str = ""
    file_search: msgspec.Raw | None = None


_TOOLS = msgspec.json.Decoder(list[msgspec.Raw])
_TOOL = msgspec.json.Decoder(_Tool)
_SEARCH = msgspec.json.Decoder(FileSearch)


def read(tools: bytes) -> tuple[Retrieval | None, list[msgspec.Raw]]:
    """Return what a `file_search` among the tools asks for, and the other tools.

    Its fields may stand in the tool, as the Responses API has them, or in `file_search` within.

    Raises:
        InvalidRequest: The tool lacks a field or has one of a wrong type, or there are two.
    """
    asked: Retrieval | None = None
    others: list[msgspec.Raw] = []
    try:
        given = _TOOLS.decode(tools)
    except msgspec.ValidationError:
        return None, others  # the engine says what is wrong with them
    for raw in given:
        try:
            tool = _TOOL.decode(raw)
        except msgspec.ValidationError:
            tool = _Tool()
        if tool.type != _KIND:
            others.append(raw)
            continue
        if asked is not None:
            raise _wrong("`file_search` is given twice", "")
        try:
            asked = _SEARCH.decode(tool.file_search or raw).asked()
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            raise _wrong(what, path.rstrip("`")) from None
    return asked, others


def leave_out(fields: dict[str, msgspec.Raw], others: list[msgspec.Raw]) -> None:
    """Leave the tool out of a request's fields, with what would make no sense without it."""
    if others:
        fields["tools"] = msgspec.Raw(msgspec.json.encode(others))
        if _KIND.encode() in bytes(fields.get("tool_choice", b"")):
            del fields["tool_choice"]
        return
    for name in ("tools", "tool_choice", "parallel_tool_calls"):
        fields.pop(name, None)


def _wrong(what: str, path: str) -> InvalidRequest:
    return InvalidRequest(
        f"{what} in the tool `file_search{path}`.", param=f"tools.file_search{path}",
        code="invalid_type",
    )  # fmt: skip
