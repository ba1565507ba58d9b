"""What all dashboards share: variables, annotations, links from one to the other."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as shapes

from grafana.panels import SOURCE

Panels = Sequence[Builder[shapes.Panel]]


def board(
    uid: str,
    title: str,
    about: str,
    variables: Sequence[Builder[shapes.VariableModel]],
    content: dict[str, Panels],
    since: str = "now-6h",
) -> shapes.Dashboard:
    """Return a dashboard.

    Args:
        uid: Part of its address.
        title: Its name.
        about: What it is for.
        variables: What one can choose at its top.
        content: Panels by the title of their row.
        since: Where the time shown begins.
    """
    made = (
        boards.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["driftgate"])
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(shapes.DashboardCursorSync.CROSSHAIR)
        .variables(list(variables))
        .annotations([_moves(), _alarms()])
        .link(
            boards.DashboardLink("Driftgate")
            .type(shapes.DashboardLinkType.DASHBOARDS)
            .tags(["driftgate"])
            .keep_time(True)
            .include_vars(True)
        )
    )
    number = 0
    for row, panels in content.items():
        number += 1
        made = made.with_row(boards.Row(row).id(number))
        for panel in panels:
            number += 1
            built = panel.build()
            built.id_val = number
            made = made.with_panel(_Built(built))
    return made.build()


def chosen(name: str, label: str, series: str, of: str) -> boards.QueryVariable:
    """Return a variable that takes the values of a label; several may be chosen, at first all.

    Args:
        name: The variable.
        label: Its name for people.
        series: Whose label.
        of: The label.
    """
    every = shapes.VariableOption(text="All", value="$__all", selected=True)
    return (
        boards.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({series}, {of})")
        .refresh(shapes.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(shapes.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(every)
    )


def written(name: str, label: str, value: str) -> boards.TextBoxVariable:
    """Return a variable that one writes into."""
    option = shapes.VariableOption(text=value, value=value, selected=True)
    return boards.TextBoxVariable(name).label(label).default_value(value).current(option)


def report_link(alias: str = "__field.labels.alias") -> boards.DashboardLink:
    """Return the link from a series to the last report of its alias, or of that of a table's row.

    Args:
        alias: Where Grafana finds the alias; in a table `__data.fields.alias`.
    """
    return (
        boards.DashboardLink(f"Report of ${{{alias}}}")
        .url(f"${{monitor}}/reports/latest?alias=${{{alias}:percentencode}}")
        .target_blank(True)
    )


MONITOR = written("monitor", "Monitor's address", "http://127.0.0.1:9465")


class _Built(Builder[shapes.Panel]):
    """A panel that is built already, for the builder of dashboards."""

    def __init__(self, panel: shapes.Panel) -> None:
        self._panel = panel

    def build(self) -> shapes.Panel:
        return self._panel


class _Query(shapes.AnnotationQuery):
    """Marks from Prometheus; the SDK does not know all fields of these."""

    more: dict[str, object]

    def to_json(self) -> dict[str, object]:
        return super().to_json() | self.more


class _Marks(Builder[shapes.AnnotationQuery]):
    """Marks on all graphs."""

    def __init__(self, name: str, color: str, expr: str, **more: object) -> None:
        self._query = _Query(name=name, datasource=SOURCE, icon_color=color, expr=expr)
        self._query.more = {"step": "60s", **more}

    def build(self) -> shapes.AnnotationQuery:
        return self._query


def _moves() -> _Marks:
    return _Marks(
        "Releases",
        "purple",
        'driftgate_alias_changed_timestamp_seconds{alias=~"$alias"} * 1000',
        titleFormat="{{alias}} was moved",
        tagKeys="alias",
        useValueForTime=True,
    )


def _alarms() -> _Marks:
    return _Marks(
        "Alarms",
        "red",
        'ALERTS{alertstate="firing", alias=~"$alias|"}',
        titleFormat="{{alertname}}",
        textFormat="{{alias}}",
        tagKeys="severity,alias",
    )
