"""A picture for the terminal: where the memory of each method goes, to scale, beside the limit."""

from rich.console import Group
from rich.text import Text

from training.planner.fit import Option

# Marks as well as colours: a picture must also be read without colour.
_PARTS = {
    "weights": ("█", "blue"),
    "adapters": ("a", "magenta"),
    "optimizer": ("▓", "cyan"),
    "gradients": ("g", "red"),
    "activations": ("▒", "green"),
    "logits": ("l", "yellow"),
    "fragmentation": ("░", "bright_black"),
    "runtime": ("·", "white"),
}
_LIMIT = "┃"
_CUT = "»"
# A bar ends at this many times the memory that there is, or the others could not be read.
_LONGEST = 2.0
_NAME = 7


def bars(options: list[Option], width: int) -> Group:
    """Return one bar for each option, a mark where its memory ends, and a legend.

    Args:
        options: What to show, of the same memory.
        width: Columns of the terminal.
    """
    room = max(20, width - _NAME - 12)
    largest = max(option.memory.total for option in options)
    most = max(options[0].available, min(largest, _LONGEST * options[0].available))
    limit = round(options[0].available / most * (room - 1))
    lines = [_bar(option, room, most, limit) for option in options]
    return Group(*lines, _legend(options))


def _bar(option: Option, room: int, most: float, limit: int) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * room
    reached = 0.0
    for name, size in option.memory.parts().items():
        start, reached = reached, reached + size
        ends = [min(room - 1, round(edge / most * (room - 1))) for edge in (start, reached)]
        cells[ends[0] : ends[1]] = [_PARTS[name]] * (ends[1] - ends[0])
    if reached > most:
        cells[-1] = (_CUT, "bold red")
    cells[limit] = (_LIMIT, "bold red" if option.margin < 0 else "bold")
    line = Text(f"{option.run.method:<{_NAME}}")
    for mark, style in cells:
        line.append(mark, style)
    line.append(f" {option.memory.total / 2**30:7.2f} GiB", "red" if option.margin < 0 else "")
    return line


def _legend(options: list[Option]) -> Text:
    used = {name for o in options for name, size in o.memory.parts().items() if size > 0}
    line = Text(" " * _NAME)
    for name, (mark, style) in _PARTS.items():
        if name in used:
            line.append(mark, style).append(f" {name}  ")
    line.append(f"\n{' ' * _NAME}").append(_LIMIT, "bold").append(" memory there is")
    return line
