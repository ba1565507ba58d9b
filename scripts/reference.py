"""Writes the tables of settings, commands and routes into README.md from the code.

python scripts/reference.py           # print the README as it should be
python scripts/reference.py --write   # write it (`make reference`)
"""

import re
import sys
from pathlib import Path

import typer
from pydantic_core import PydanticUndefined

from gateway.cli import build
from gateway.settings import Settings
from monitoring.settings import MonitorSettings

_README = Path(__file__).parents[1] / "README.md"


def settings_table() -> str:
    """Return every setting with its default as a Markdown table."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    fields = Settings.model_fields | {
        name: field
        for name, field in MonitorSettings.model_fields.items()
        if name not in Settings.model_fields
    }
    for name, field in fields.items():
        default = field.default
        shown = "" if default in (None, "", PydanticUndefined) else f"`{default}`"
        rows.append(f"| `DRIFTGATE_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def commands_table() -> str:
    """Return every command with its options and their defaults as a Markdown table."""
    rows = ["| command | what it does | options |", "| --- | --- | --- |"]
    root = typer.main.get_command(build())
    for path, command in sorted(_leaves(root, "driftgate")):
        options = []
        for parameter in command.params:
            if parameter.name == "help" or "completion" in str(parameter.name):
                continue
            if parameter.param_type_name == "argument":
                options.append(f"`{str(parameter.name).upper()}`")
                continue
            default = parameter.default
            empty = default in (None, False, "") or callable(default)
            options.append(f"`{parameter.opts[0]}`" + ("" if empty else f" (`{default}`)"))
        summary = (command.help or "").strip().splitlines()[0]
        rows.append(f"| `{path}` | {summary} | {', '.join(options)} |")
    return "\n".join(rows)


def _leaves(command: object, path: str) -> list[tuple[str, typer.core.TyperCommand]]:
    commands = getattr(command, "commands", None)
    if commands is None:
        return [(path, command)]  # type: ignore[list-item]
    found = []
    for name, sub in commands.items():
        found += _leaves(sub, f"{path} {name}")
    return found


def updated(readme: str) -> str:
    """Return the README with fresh tables between its markers."""
    for marker, table in (("settings", settings_table()), ("commands", commands_table())):
        pattern = rf"(?<=<!-- {marker} -->\n).*?(?=<!-- /{marker} -->)"
        # Doubled, since a replacement reads backslashes.
        fresh = table.replace("\\", "\\\\") + "\n"
        readme, count = re.subn(pattern, fresh, readme, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"README.md needs <!-- {marker} --> … <!-- /{marker} --> once")
    return readme


if __name__ == "__main__":
    text = updated(_README.read_text())
    if "--write" in sys.argv[1:]:
        _README.write_text(text)
    else:
        sys.stdout.write(text)
