"""Markdown (CommonMark with tables), with YAML front matter for the document's fields."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from retrieval.loaders.encoding import read_text
from retrieval.loaders.parts import Block, LoadError, Part, Progress, Start
from retrieval.loaders.table import sentence

_LIMIT_BYTES = 32 * 2**20
_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_MAX_FRONT_MATTER = 64 * 2**10
_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL)


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the blocks of a Markdown file; raises LoadError."""
    text = read_text(path, filename, _LIMIT_BYTES)
    fields, body = _front_matter(text, filename)
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    if not fields.get("title"):
        title = _first_heading(tokens)
        if title:
            fields["title"] = title
    yield Start(fields)
    yield from _blocks(tokens)
    yield Progress(len(text), len(text), "bytes")


def _front_matter(text: str, filename: str) -> tuple[dict[str, object], str]:
    found = _FRONT_MATTER.match(text)
    if found is None:
        return {}, text
    source = found[1] or ""
    if len(source) > _MAX_FRONT_MATTER:
        raise LoadError(f"{filename}: its front matter is larger than 64 KiB")
    import yaml

    try:
        fields = yaml.safe_load(source)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-02-31
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 2}"
        why = getattr(error, "problem", None) or str(error)
        raise LoadError(f"{filename}{line}: its front matter is not YAML: {why}") from None
    if fields is None:
        fields = {}
    if not isinstance(fields, dict):
        if "\n" in source.strip() or ":" in source:
            raise LoadError(f"{filename}, line 2: its front matter is no mapping")
        return {}, text  # a line between two rules, which is Markdown too
    return {str(name): value for name, value in fields.items()}, text[found.end() :]


def _first_heading(tokens: Sequence[Token]) -> str:
    for position, token in enumerate(tokens):
        if token.type == "heading_open":
            return _inline(tokens[position + 1]) if token.tag == "h1" else ""
    return ""


def _blocks(tokens: Sequence[Token]) -> Iterator[Block]:
    level = 0
    bullet = False  # the next words are the first of a list item
    number = "-"
    in_list = 0
    row: list[str] = []
    head: list[str] = []
    in_head = in_cell = False
    for token in tokens:
        kind = token.type
        if kind == "heading_open":
            level = int(token.tag[1])
        elif kind in ("bullet_list_open", "ordered_list_open"):
            in_list += 1
        elif kind in ("bullet_list_close", "ordered_list_close"):
            in_list -= 1
        elif kind == "list_item_open":
            bullet = True
            number = f"{token.info}{token.markup}" if token.info else "-"
        elif kind == "thead_open":
            in_head = True
        elif kind == "thead_close":
            in_head, head, row = False, row, []
        elif kind == "tr_close" and not in_head:
            yield Block(sentence(head, row), tight=True)
            row = []
        elif kind == "table_close" and head:
            head = []
        elif kind in ("fence", "code_block"):
            if token.content.strip():
                yield Block(token.content.strip("\n"))
        elif kind == "html_block":
            if words := _TAG.sub(" ", token.content).strip():
                yield Block(words)
        elif kind in ("th_open", "td_open"):
            in_cell = True
        elif kind == "inline" and in_cell:
            row.append(_inline(token))
            in_cell = False
        elif kind == "inline":
            words = _inline(token)
            if bullet and words:
                yield Block(f"{number} {words}", tight=True)
                bullet = False
            elif words:
                yield Block(words, level, tight=in_list > 0)
            level = 0


def _inline(token: Token) -> str:
    words = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            words.append(child.content)
        elif child.type == "softbreak":
            words.append(" ")
        elif child.type == "hardbreak":
            words.append("\n")
        elif child.type == "image":
            words.append(child.content)
    return "".join(words).strip()
