"""The kinds of panels that the dashboards are made of, each with one look."""

from collections.abc import Sequence
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, statetimeline
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as shapes
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = shapes.DataSourceRef(type_val="prometheus", uid="prometheus")
Steps = Sequence[tuple[float | None, str]]
Override = list[shapes.DynamicConfigValue]
GOOD: Steps = ((None, "green"),)
PLAIN: Steps = ((None, "text"),)
_Panel = TypeVar(
    "_Panel", stat.Panel, lines.Panel, tables.Panel, bargauge.Panel, statetimeline.Panel
)

# States in the order of the numbers that stand for them, and their colours.
HEALTH_STATES = {
    "HEALTHY": "green", "WARN": "orange", "DEGRADED": "red", "RETRAINING": "blue",
    "CANARY": "purple",
}  # fmt: skip
ENGINE_STATES = {
    "ready": "green", "starting": "blue", "restarting": "orange", "stopping": "purple",
    "failed": "red", "swapping": "yellow",
}  # fmt: skip


def as_numbers(metric: str, states: dict[str, str], by: str, of: str = "") -> str:
    """Return the expression of the state that is 1, as its number among all.

    Args:
        metric: It has a label `state`, and is 1 for the state that something is in.
        states: All there are.
        by: The labels of what is in a state.
        of: Further matchers, each followed by a comma.
    """
    each = (f'{n} * {metric}{{{of}state="{state}"}}' for n, state in enumerate(states))
    return f"max by ({by}) ({' or '.join(each)})"


HEALTH = as_numbers("driftgate_monitor_alias_health", HEALTH_STATES, "alias", 'alias=~"$alias", ')


def query(expr: str, legend: str = "") -> prometheus.Dataquery:
    """Return a query over time; `legend` may name labels, as `{{alias}}`."""
    return prometheus.Dataquery().datasource(SOURCE).expr(expr).range().legend_format(legend)


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """Return a query of the present."""
    return prometheus.Dataquery().datasource(SOURCE).expr(expr).instant().legend_format(legend)


def rows(expr: str) -> prometheus.Dataquery:
    """Return a query of the present for a table."""
    return now(expr).format(PromQueryFormat.TABLE)


def steps(values: Steps) -> boards.ThresholdsConfig:
    """Return thresholds: each colour holds from its value on, the first from minus infinity."""
    made = [shapes.Threshold(value=value, color=color) for value, color in values]
    return boards.ThresholdsConfig().mode(shapes.ThresholdsMode.ABSOLUTE).steps(made)


def number(
    title: str,
    about: str,
    unit: str,
    *queries: prometheus.Dataquery,
    thresholds: Steps = PLAIN,
    span: int = 6,
    named: bool = False,
) -> stat.Panel:
    """Return a large figure, its colour that of its threshold; `named`: with the legend beside."""
    mode = looks.BigValueTextMode.VALUE_AND_NAME if named else looks.BigValueTextMode.AUTO
    panel = (
        stat.Panel()
        .color_mode(looks.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(looks.BigValueGraphMode.AREA)
        .text_mode(mode)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(steps(thresholds))
        .unit(unit)
    )
    if thresholds == PLAIN:
        panel = panel.color_mode(looks.BigValueColorMode.NONE)
    return _with(panel, title, about, queries, span, 4)


def graph(
    title: str,
    about: str,
    unit: str,
    *queries: prometheus.Dataquery,
    thresholds: Steps | None = None,
    span: int = 12,
    log: bool = False,
    stacked: bool = False,
    most: float | None = None,
) -> lines.Panel:
    """Return lines over time.

    Args:
        title: Of the panel.
        about: What it shows and what to do about it.
        unit: Grafana's name of the unit.
        queries: Each with a legend.
        thresholds: Shown as dashed lines.
        span: Of the 24 columns.
        log: A logarithmic scale.
        stacked: Lines add up.
        most: The upper end of the axis.
    """
    legend = (
        common.VizLegendOptions()
        .display_mode(looks.LegendDisplayMode.TABLE)
        .placement(looks.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "mean", "max"])
        .sort_by("Last *")
        .sort_desc(True)
        .show_legend(True)
    )
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI)
    scale = common.ScaleDistributionConfig().type(looks.ScaleDistribution.LINEAR)
    panel = (
        lines.Panel()
        .unit(unit)
        .line_width(2)
        .fill_opacity(40 if stacked else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .span_nulls(90_000)  # a scrape that failed leaves no gap
        .legend(legend)
        .tooltip(tooltip.sort(looks.SortOrder.DESCENDING))
    )
    if log:
        scale = common.ScaleDistributionConfig().type(looks.ScaleDistribution.LOG).log(10)
    else:
        panel = panel.axis_soft_min(0)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    if most is not None:
        panel = panel.max(most)
    if thresholds is not None:
        style = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(steps(thresholds)).thresholds_style(style)
    return _with(panel.scale_distribution(scale), title, about, queries, span, 9)


def bars(
    title: str,
    about: str,
    unit: str,
    *queries: prometheus.Dataquery,
    thresholds: Steps = GOOD,
    span: int = 12,
    most: float | None = None,
) -> bargauge.Panel:
    """Return a bar for each series, as it is now."""
    panel = (
        bargauge.Panel()
        .unit(unit)
        .min(0)
        .orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC)
        .value_mode(looks.BarGaugeValueMode.TEXT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(steps(thresholds))
    )
    if most is not None:
        panel = panel.max(most)
    return _with(panel, title, about, queries, span, 9)


def timeline(
    title: str, about: str, shown: prometheus.Dataquery, states: dict[str, str]
) -> statetimeline.Panel:
    """Return the states of something over time; `shown` gives them as `as_numbers` does."""
    panel = (
        statetimeline.Panel()
        .mappings(_named(states))
        .show_value(looks.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(80)
        .legend(common.VizLegendOptions().show_legend(False))
    )
    return _with(panel, title, about, [shown], 12, 9)


def health(title: str, about: str, span: int = 6) -> stat.Panel:
    """Return the state that each alias is in."""
    panel = number(title, about, "none", now(HEALTH, "{{alias}}"), span=span, named=True)
    panel = panel.color_mode(looks.BigValueColorMode.BACKGROUND_SOLID)
    return panel.mappings(_named(HEALTH_STATES)).graph_mode(looks.BigValueGraphMode.NONE)


def grid(
    title: str,
    about: str,
    columns: dict[str, prometheus.Dataquery],
    hidden: Sequence[str] = (),
    span: int = 24,
) -> tables.Panel:
    """Return a table: a column of values for each query, joined by their labels.

    Args:
        title: Of the panel.
        about: What it shows.
        columns: Queries made by `rows`, by the heading of their column.
        hidden: Labels that are not shown.
        span: Of the 24 columns.
    """
    queries = [each.ref_id(chr(ord("A") + n)) for n, each in enumerate(columns.values())]
    renamed = {f"Value #{chr(ord('A') + n)}": name for n, name in enumerate(columns)}
    tidy: dict[str, object] = {
        "excludeByName": {"Time": True, **dict.fromkeys(hidden, True)},
        "renameByName": renamed,
    }
    panel = (
        tables.Panel()
        .with_transformation(shapes.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(shapes.DataTransformerConfig(id_val="organize", options=tidy))
    )
    return _with(panel, title, about, queries, span, 9)


def fixed(color: str, *, dashed: bool = False) -> Override:
    """Return what gives a series one colour, and no filling; `dashed`: as a threshold looks."""
    values: Override = [
        shapes.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color}),
        shapes.DynamicConfigValue("custom.fillOpacity", 0),
    ]
    if dashed:
        style = {"fill": "dash", "dash": [10, 10]}
        values.append(shapes.DynamicConfigValue("custom.lineStyle", style))
    return values


def unit_of(unit: str) -> Override:
    """Return what gives a series or a column a unit of its own."""
    return [shapes.DynamicConfigValue("unit", unit)]


def right_axis(unit: str) -> Override:
    """Return what puts a series on an axis of its own, on the right."""
    return [*unit_of(unit), shapes.DynamicConfigValue("custom.axisPlacement", "right")]


def _named(states: dict[str, str]) -> list[shapes.ValueMapping]:
    options: dict[str, shapes.ValueMappingResult] = {
        str(n): shapes.ValueMappingResult(text=state, color=color, index=n)
        for n, (state, color) in enumerate(states.items())
    }
    return [shapes.ValueMap(options=options)]


def _with(
    panel: _Panel,
    title: str,
    about: str,
    queries: Sequence[prometheus.Dataquery],
    span: int,
    height: int,
) -> _Panel:
    for n, each in enumerate(queries):
        panel = panel.with_target(each.ref_id(chr(ord("A") + n)))
    return panel.title(title).description(about).datasource(SOURCE).span(span).height(height)
