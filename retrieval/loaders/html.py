"""HTML: the words of a page without its scripts, styles and navigation."""

import re
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from retrieval.loaders.encoding import read_text
from retrieval.loaders.parts import Block, Part, Progress, Start
from retrieval.loaders.table import sentence

_LIMIT_BYTES = 32 * 2**20
_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?\s*([\w-]+)", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f\v\u00a0]+")
_BREAK = "\u2028"
_ROLES = frozenset(("navigation", "banner", "contentinfo", "search", "menu", "menubar", "dialog"))
_OUTSIDE = frozenset(("header", "footer", "aside"))  # around an article; inside one they are text
# fmt: off
_NOT_WORDS = frozenset((
    "script", "style", "noscript", "template", "svg", "math", "canvas", "iframe", "object",
    "nav", "button", "select", "input", "textarea", "dialog", "head",
))
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html",
    "legend", "li", "main", "ol", "p", "section", "summary", "tbody", "td", "tfoot", "th",
    "thead", "tr", "ul", "table", "caption",
))
# fmt: on


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the blocks of a web page; raises LoadError."""
    with path.open("rb") as file:
        declared = _CHARSET.search(file.read(4096))
    text = read_text(path, filename, _LIMIT_BYTES, declared[1].decode() if declared else "")
    page = BeautifulSoup(text, "lxml")
    yield Start(_fields(page))
    walker = _Walker()
    root, is_article = _article(page)
    walker.visit(root, is_article)
    walker.flush()
    yield from walker.blocks
    yield Progress(len(text), len(text), "bytes")


def _fields(page: BeautifulSoup) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, title in (
        ("title", page.title.get_text() if page.title else ""),
        ("title", _attribute(page.find("meta", property="og:title"), "content")),
        ("title", first.get_text() if isinstance(first := page.find("h1"), Tag) else ""),
        ("url", _attribute(page.find("link", rel="canonical"), "href")),
        ("url", _attribute(page.find("meta", property="og:url"), "content")),
    ):
        if title.strip() and name not in fields:
            fields[name] = title.strip()
    return fields


def _attribute(tag: object, name: str) -> str:
    value = tag.get(name) if isinstance(tag, Tag) else None
    return value if isinstance(value, str) else ""


def _article(page: BeautifulSoup) -> tuple[Tag, bool]:
    """Return the element with the page's own words, and whether it is marked as such."""
    everything = len(page.get_text())
    for found in (page.find("main"), page.find(role="main"), page.find("article")):
        if isinstance(found, Tag) and len(found.get_text()) > everything // 5:
            return found, True
    return page, False


class _Walker:
    """Collects the blocks of an element; inline elements run on, others begin a block."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._words: list[str] = []
        self._mark = ""

    def visit(self, tag: Tag, is_article: bool) -> None:
        """Go through what an element holds; pages may be nested deeper than Python recurses."""
        inside = [(tag, iter(tag.children), is_article)]
        while inside:
            parent, children, is_article = inside[-1]
            child = next(children, None)
            if child is None:
                inside.pop()
                self._leave(parent)
            elif type(child) is NavigableString:
                self._words.append(str(child))
            elif (
                isinstance(child, Tag) and not _is_hidden(child, is_article) and self._enter(child)
            ):
                is_article = is_article or child.name in ("main", "article")
                inside.append((child, iter(child.children), is_article))

    def _enter(self, tag: Tag) -> bool:
        """Begin an element; returns whether what it holds is still to be visited."""
        if tag.name == "br":
            self._words.append(_BREAK)
        elif len(tag.name) == 2 and tag.name[0] == "h" and tag.name[1] in "123456":
            self.flush()
            if words := _SPACE.sub(" ", tag.get_text(" ")).strip():
                self.blocks.append(Block(words, int(tag.name[1])))
        elif tag.name == "pre":
            self.flush()
            if tag.get_text().strip():
                self.blocks.append(Block(tag.get_text().strip("\n")))
        elif tag.name == "table" and _is_data(tag):
            self.flush()
            self._table(tag)
        else:
            if tag.name in _BLOCKS:
                self.flush()
            if tag.name == "li":
                self._mark = "- "
            return True
        return False

    def _leave(self, tag: Tag) -> None:
        if tag.name in _BLOCKS:
            self.flush()
        if tag.name == "li":
            self._mark = ""

    def flush(self) -> None:
        """End the block that runs."""
        words = _SPACE.sub(" ", "".join(self._words))
        self._words = []
        text = "\n".join(line.strip() for line in words.split(_BREAK)).strip()
        if text:
            self.blocks.append(Block(self._mark + text, tight=bool(self._mark)))
            self._mark = ""

    def _table(self, table: Tag) -> None:
        names: list[str] = []
        for row in table.find_all("tr"):
            cells = row.find_all(["td", "th"])
            values = [_SPACE.sub(" ", cell.get_text(" ")).strip() for cell in cells]
            if cells and not names and all(cell.name == "th" for cell in cells):
                names = values
            elif words := sentence(names, values):
                self.blocks.append(Block(words, tight=True))


def _is_hidden(tag: Tag, is_article: bool) -> bool:
    if tag.name in _NOT_WORDS or (tag.name in _OUTSIDE and not is_article):
        return True
    style = _attribute(tag, "style").replace(" ", "").lower()
    return (
        tag.has_attr("hidden")
        or "display:none" in style
        or _attribute(tag, "aria-hidden") == "true"
        or _attribute(tag, "role") in _ROLES
    )


def _is_data(table: Tag) -> bool:
    """Return whether a table holds data, not the layout of a page."""
    return table.find(["table", "h1", "h2", "h3", "ul", "pre"]) is None
