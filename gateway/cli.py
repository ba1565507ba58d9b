"""The command line. Each package registers its sub-commands in the group `driftgate.commands`.

So the root imports nothing across layers: a package that is not installed has no commands.
"""

import sys
from importlib.metadata import entry_points

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

_GROUP = "driftgate.commands"
# The only place that says so beside the README, which a test holds against this.
EXIT_STATUS = (
    "Exit status: 0 done, 1 it stopped on an error or a check failed, 2 wrong input or no store."
)


def build() -> typer.Typer:
    """Return the root command with every registered sub-command."""
    root = typer.Typer(
        name="driftgate",
        help="An OpenAI-compatible gateway for fine-tuned models that notices when they go stale.",
        epilog="Begin with `driftgate serve`; `driftgate status` shows what runs, "
        f"`driftgate doctor` what is wrong. {EXIT_STATUS}",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for point in sorted(entry_points(group=_GROUP), key=lambda point: point.name):
        app: typer.Typer = point.load()
        # An app with one command of the entry point's own name is a command, not a group.
        single = len(app.registered_commands) == 1 and app.registered_callback is None
        if single and app.registered_commands[0].name == point.name:
            root.registered_commands += app.registered_commands
        else:
            root.add_typer(app, name=point.name)
    return root


def main() -> None:
    """Run `driftgate`; a setting that cannot be read is named, and the exit status is 2."""
    try:
        build()()
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"DRIFTGATE_{name}={problem['input']!r}: {problem['msg']}.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
