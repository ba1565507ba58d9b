"""The options that our users and shapes add to Locust's own."""

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtests.curves import CURVES

__all__ = ["option"]


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group("Driftgate")
    group.add_argument("--model", default="production", help="The alias or release to ask")
    group.add_argument("--shape", default="steady", choices=sorted(CURVES), help="How load changes")
    group.add_argument("--max-answer-tokens", type=int, default=32, help="Longest answer")
    group.add_argument("--samples", default="", help="File that every measurement is written to")
    group.add_argument("--tenants", default="", help="File of the tenants' keys, for TenantUser")
    group.add_argument("--data", default="../shared/data", help="Folder that has banking77/")


def option(environment: Environment, name: str) -> str:
    """Return what an option was set to, as text."""
    return str(getattr(environment.parsed_options, name))
