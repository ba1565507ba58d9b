"""Reads `sla.yaml`: what is run, and what must be kept. Whatever is not understood is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loadtests.curves import CURVES

PERCENTILES = ("p50", "p95", "p99")
TIMES = ("ttft_ms", "inter_token_ms", "total_ms", "search_ms")
USERS = ("ChatUser", "DocumentsUser", "TenantUser")


class AgreementError(ValueError):
    """`sla.yaml` is wrong; the message names the file, the line and the field."""


@dataclass(frozen=True)
class Limits:
    """What a scenario must keep.

    Attributes:
        times_ms: By figure (`ttft_ms`), by percentile (`p95`), milliseconds.
        error_rate: Largest share of requests that may fail; expected 429s count as neither.
        refused_least: How many 429s limited tenants must meet; None: does not matter.
        growth: How much the median total may grow from the first to the last third; None: at will.
    """

    times_ms: Mapping[str, Mapping[str, float]]
    error_rate: float
    refused_least: int | None = None
    growth: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One run of Locust.

    Attributes:
        users: How many there are at most.
        seconds: How long it takes.
        on_request: Run only where it is named.
    """

    name: str
    says: str
    user: str
    shape: str
    users: int
    seconds: float
    limits: Limits
    on_request: bool = False


def read(path: Path) -> tuple[Scenario, ...]:
    """Return the scenarios in the order of the file.

    Raises:
        AgreementError: The file cannot be read, or something in it is wrong.
    """
    try:
        document = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise AgreementError(f"{path} cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise AgreementError(f"{path}:{line}: {error.problem}") from None
    if document is None:
        raise AgreementError(f"{path}:1: the file is empty")
    reader = _Reader(path)
    (scenarios,) = reader.fields(document, "", ("scenarios",)).values()
    named = reader.mapping(scenarios, "scenarios")
    if not named:
        raise reader.error(scenarios, "scenarios", "there must be at least one")
    return tuple(_scenario(reader, name, node) for name, node in named.items())


def _scenario(reader: "_Reader", name: str, node: yaml.Node) -> Scenario:
    at = f"scenarios.{name}"
    found = reader.fields(
        node, at, ("says", "user", "shape", "users", "seconds", "limits"), ("on_request",)
    )

    def field(key: str, kind: type | tuple[type, ...]) -> Any:
        return reader.value(found[key], f"{at}.{key}", kind)

    return Scenario(
        name,
        field("says", str),
        reader.choice(found["user"], f"{at}.user", USERS),
        reader.choice(found["shape"], f"{at}.shape", tuple(CURVES)),
        reader.number(found["users"], f"{at}.users", least=1, whole=True),
        reader.number(found["seconds"], f"{at}.seconds", least=1),
        _limits(reader, found["limits"], f"{at}.limits"),
        field("on_request", bool) if "on_request" in found else False,
    )


def _limits(reader: "_Reader", node: yaml.Node, at: str) -> Limits:
    found = reader.fields(node, at, ("error_rate",), (*TIMES, "refused_least", "growth"))
    times: dict[str, Mapping[str, float]] = {}
    for figure in TIMES:
        if figure not in found:
            continue
        given = reader.fields(found[figure], f"{at}.{figure}", (), PERCENTILES)
        if not given:
            raise reader.error(found[figure], f"{at}.{figure}", "names no percentile")
        values = {
            key: reader.number(each, f"{at}.{figure}.{key}", least=0) for key, each in given.items()
        }
        ordered = [values[key] for key in PERCENTILES if key in values]
        if ordered != sorted(ordered):
            raise reader.error(
                found[figure], f"{at}.{figure}", "a higher percentile has a lower limit"
            )
        times[figure] = values
    if not times:
        raise reader.error(node, at, f"needs at least one of {', '.join(TIMES)}")
    least, growth = found.get("refused_least"), found.get("growth")
    return Limits(
        times,
        reader.number(found["error_rate"], f"{at}.error_rate", least=0, most=1),
        reader.number(least, f"{at}.refused_least", least=0, whole=True) if least else None,
        reader.number(growth, f"{at}.growth", least=1) if growth else None,
    )


class _Reader:
    """Takes YAML nodes apart, and names file, line and field where one is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, node: yaml.Node, at: str, problem: str) -> AgreementError:
        where = f" `{at}`" if at else ""
        return AgreementError(f"{self._path}:{node.start_mark.line + 1}:{where} {problem}")

    def mapping(self, node: yaml.Node, at: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, at, "must be a mapping")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(key, at, "has a key that is no name")
            if key.value in found:
                raise self.error(key, at, f"names `{key.value}` twice")
            found[key.value] = value
        return found

    def fields(
        self, node: yaml.Node, at: str, needed: tuple[str, ...], further: tuple[str, ...] = ()
    ) -> dict[str, yaml.Node]:
        found = self.mapping(node, at)
        for name, value in found.items():
            if name not in (*needed, *further):
                known = ", ".join((*needed, *further))
                raise self.error(value, at, f"has no field `{name}`; it has {known}")
        for name in needed:
            if name not in found:
                raise self.error(node, at, f"lacks `{name}`")
        return found

    def value(self, node: yaml.Node, at: str, kind: type | tuple[type, ...]) -> Any:
        value = yaml.safe_load(yaml.serialize(node)) if isinstance(node, yaml.ScalarNode) else None
        numeric = kind in (int, (int, float)) and isinstance(value, bool)
        if not isinstance(value, kind) or numeric:
            names = {str: "text", bool: "true or false", int: "a whole number"}
            wanted = names.get(kind, "a number") if isinstance(kind, type) else "a number"
            raise self.error(node, at, f"must be {wanted}")
        return value

    def choice(self, node: yaml.Node, at: str, known: tuple[str, ...]) -> str:
        value: str = self.value(node, at, str)
        if value not in known:
            raise self.error(node, at, f"is `{value}`, not one of {', '.join(known)}")
        return value

    def number(
        self,
        node: yaml.Node,
        at: str,
        *,
        least: float,
        most: float = float("inf"),
        whole: bool = False,
    ) -> Any:
        value = self.value(node, at, int if whole else (int, float))
        if not least <= value <= most:
            bound = f"at least {least:g}" + (f" and at most {most:g}" if most < 1e300 else "")
            raise self.error(node, at, f"is {value:g}, must be {bound}")
        return value
