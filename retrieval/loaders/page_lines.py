"""The lines of a PDF page as paragraphs: without running heads, and with words put together."""

import re
import statistics
from collections.abc import Sequence

_PAGE_NUMBER = re.compile(r"(page|seite|p\.)?\s*\d{1,5}(\s*(/|of|von)\s*\d{1,5})?", re.IGNORECASE)
_EDGE_NUMBER = re.compile(r"^\d{1,5}\s+|\s+\d{1,5}$")
_ITEM = re.compile(r"([-*•▪‣\u2013]|\d{1,3}[.)]|\(?[a-z]\))\s")
_HYPHENATED = re.compile(r"[^\W\d_]-$")
_ENDS = (".", "!", "?", ":", ";", "”", '"', ")")
_MIN_LINES = 4


def lines_of(text: str) -> list[str]:
    """Return a page's lines, each without the white space at its ends; blank ones are empty."""
    return [" ".join(line.split()) for line in text.splitlines()]


def without_furniture(lines: Sequence[str], neighbours: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines without page numbers, and heads and feet that a page beside it has too.

    Args:
        lines: The page's lines.
        neighbours: The lines of the pages before and after.
    """
    kept = [line for line in lines if line]
    if len(kept) < _MIN_LINES:
        return list(lines)
    beside = {_bare(line) for page in neighbours for line in _edges(page)}
    result = list(lines)
    for backwards in (False, True):
        order = range(len(result) - 1, -1, -1) if backwards else range(len(result))
        seen = 0
        for at in order:
            line = result[at]
            if not line:
                continue
            if _PAGE_NUMBER.fullmatch(line) or _bare(line) in beside:
                result[at] = ""
            seen += 1
            if seen == 2:
                break
    return result


def paragraphs(lines: Sequence[str]) -> list[str]:
    """Return paragraphs: lines joined, hyphenated words too, split where a line ends early."""
    widths = [len(line) for line in lines if line]
    if not widths:
        return []
    # Most lines of running text are nearly as wide as the widest ones.
    width = statistics.quantiles(widths, n=10)[-2] if len(widths) > 1 else widths[0]
    result: list[str] = []
    held = ""
    for line in lines:
        if not line or (held and _ITEM.match(line)):
            if held:
                result.append(held)
            held = line
            last = line
            continue
        if held and len(last) < 0.75 * width and (last.endswith(_ENDS) or line[:1].isupper()):
            result.append(held)
            held = line
        elif held and _HYPHENATED.search(held) and line[:1].islower():
            held = held[:-1] + line
        else:
            held = f"{held} {line}" if held else line
        last = line
    if held:
        result.append(held)
    return result


def runs_on(before: str, after: str) -> bool:
    """Return whether a sentence goes on from the end of a page to the next."""
    return bool(before) and not before.endswith(_ENDS) and after[:1].islower()


def _edges(lines: Sequence[str]) -> list[str]:
    kept = [line for line in lines if line]
    return [*kept[:2], *kept[-2:]] if len(kept) >= _MIN_LINES else []


def _bare(line: str) -> str:
    return _EDGE_NUMBER.sub("", line)
