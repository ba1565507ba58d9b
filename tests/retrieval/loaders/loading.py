"""What a loader finds, in a form that tests can compare."""

from pathlib import Path

from retrieval.loaders import load
from retrieval.loaders.parts import BadPart, Block, Start


def starts(path: Path) -> list[Start]:
    return [part for part in load(path, path.name) if isinstance(part, Start)]


def blocks(path: Path) -> list[Block]:
    return [part for part in load(path, path.name) if isinstance(part, Block)]


def texts(path: Path) -> list[str]:
    """The text of each block, headings with as many #."""
    return [f"{'#' * block.level} {block.text}".strip() for block in blocks(path)]


def bad(path: Path) -> list[str]:
    return [
        f"{part.place}: {part.why}" for part in load(path, path.name) if isinstance(part, BadPart)
    ]
