"""`docs/loop.md` names every setting of a loop, with its default, and no other."""

import re
from pathlib import Path

from training.loop import LoopSettings

_DOCUMENT = Path(__file__).parents[2] / "docs" / "loop.md"


def test_the_table_of_settings_is_the_settings() -> None:
    text = _DOCUMENT.read_text().partition("## Settings")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    fields = LoopSettings().fields()
    assert list(rows) == list(fields)
    for name, shown in rows.items():
        if isinstance(fields[name], int | float):
            assert float(shown) == fields[name], name
