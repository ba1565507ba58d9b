"""The dashboard *Quality and drift*: have the questions changed, have the answers got worse."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import MONITOR, board, chosen, report_link
from grafana.panels import (
    HEALTH,
    HEALTH_STATES,
    bars,
    fixed,
    graph,
    grid,
    health,
    now,
    number,
    query,
    right_axis,
    rows,
    timeline,
    unit_of,
)

_OF = 'alias=~"$alias", release=~"$release"'
_NAME = "{{alias}} {{release}}"
_ALL_DRIFT = f'driftgate_monitor_drift_evidence{{{_OF}, signal="all"}}'


def _metric(name: str) -> str:
    return f"driftgate_monitor_{name}{{{_OF}}}"


def quality() -> Dashboard:
    """Return the dashboard."""
    return board(
        "driftgate-quality",
        "Quality and drift",
        "What the monitor knows: evidence that questions changed (WARN), that answers got worse "
        "(ACT), topics, descriptors, golden probes, and whether the monitor itself works.",
        [
            chosen("alias", "Alias", "driftgate_monitor_alias_health", "alias"),
            chosen(
                "release", "Release", 'driftgate_monitor_windows_total{alias=~"$alias"}', "release"
            ),
            MONITOR,
        ],
        {
            "Now": [
                health(
                    "Health",
                    "The state that the gateway acts on: WARN retrieves for what drifted, DEGRADED "
                    "always. Click for the report.",
                    span=5,
                ).data_links([report_link()]),
                number(
                    "Drift: evidence",
                    "The average over all drift signals, and where it alarms: the threshold is the "
                    "mean number of windows between false alarms.",
                    "locale",
                    now(f"max({_ALL_DRIFT})", "evidence"),
                    now(f"min({_metric('drift_threshold')})", "alarms at"),
                    span=5,
                    named=True,
                ),
                number(
                    "Harm: evidence",
                    "The strongest signal of harm, and where it alarms. That threshold is passed "
                    "by at most one in a hundred releases that are as good as they were.",
                    "locale",
                    now(f"max({_metric('harm_evidence')})", "evidence"),
                    now(f"min({_metric('harm_threshold')})", "alarms at"),
                    span=5,
                    named=True,
                ),
                number(
                    "Reference",
                    "How much of the reference of the emptiest release is collected. Before it is "
                    "full, drift cannot be noticed.",
                    "percentunit",
                    now(f"min({_metric('reference_rows')} / {_metric('reference_needed')})"),
                    thresholds=((None, "red"), (0.5, "orange"), (1, "green")),
                    span=4,
                ),
                number(
                    "Last look",
                    "How long ago the monitor last looked at all aliases.",
                    "s",
                    now("time() - max(driftgate_monitor_last_cycle_timestamp_seconds)"),
                    thresholds=((None, "green"), (120, "orange"), (300, "red")),
                    span=5,
                ),
            ],
            "Drift: are the questions what they were?": [
                graph(
                    "Evidence of drift",
                    "By signal, on a logarithmic scale. `all` is their average and the only one "
                    "that alarms, at the dashed line; 1 is no evidence.",
                    "locale",
                    query(_metric("drift_evidence"), f"{_NAME}: {{{{signal}}}}"),
                    query(f"min({_metric('drift_threshold')})", "alarms at"),
                    log=True,
                )
                .override_by_name("alarms at", fixed("red", dashed=True))
                .data_links([report_link()]),
                grid(
                    "Topics",
                    "Share of the questions by topic: in the last windows, in the reference, and "
                    "how much it grew. Click a row for the report.",
                    {
                        "now": rows(_metric("topic_share")),
                        "reference": rows(_metric("topic_reference_share")),
                        "grew": rows(
                            f"{_metric('topic_share')} - {_metric('topic_reference_share')}"
                        ),
                    },
                    hidden=("instance", "job", "__name__"),
                    span=12,
                )
                .unit("percentunit")
                .data_links([report_link("__data.fields.alias")]),
                graph(
                    "Descriptors, as multiples of the reference",
                    "Length, language, form and the like of the last window: 1 is as it was.",
                    "none",
                    query(
                        f"{_metric('descriptor')} / ({_metric('descriptor_reference')} != 0)",
                        f"{_NAME}: {{{{descriptor}}}}",
                    ),
                ),
                timeline(
                    "Health over time",
                    "HEALTHY, WARN (the questions drift), DEGRADED (the answers got worse), then "
                    "RETRAINING and CANARY.",
                    query(HEALTH, "{{alias}}"),
                    HEALTH_STATES,
                ),
            ],
            "Harm: are the answers worse?": [
                graph(
                    "Evidence of harm",
                    "By signal, on a logarithmic scale. Any of them alarms at the dashed line, "
                    "which asks for a retraining.",
                    "locale",
                    query(_metric("harm_evidence"), f"{_NAME}: {{{{signal}}}}"),
                    query(f"min({_metric('harm_threshold')})", "alarms at"),
                    log=True,
                    span=9,
                )
                .override_by_name("alarms at", fixed("red", dashed=True))
                .data_links([report_link()]),
                graph(
                    "Losses",
                    "Mean loss by signal, from 0 (good) to 1. Above its limit it counts as harm, "
                    "and evidence grows.",
                    "percentunit",
                    query(_metric("loss"), f"{_NAME}: {{{{signal}}}}"),
                    query(_metric("loss_limit"), f"limit of {_NAME}: {{{{signal}}}}"),
                    most=1,
                    span=9,
                ).override_by_regexp("limit of .*", fixed("text", dashed=True)),
                bars(
                    "Golden probes",
                    "Mean score of the fixed questions that are asked again and again.",
                    "percentunit",
                    now(_metric("probe_score"), _NAME),
                    thresholds=((None, "red"), (0.7, "orange"), (0.85, "green")),
                    most=1,
                    span=6,
                ),
            ],
            "The monitor": [
                graph(
                    "Requests that were judged",
                    "An hour, in windows; and those left out: later turns of a conversation, or "
                    "without a prompt.",
                    "none",
                    query(f"sum(increase({_metric('requests_total')}[1h]))", "in windows, an hour"),
                    query(
                        f"sum(increase({_metric('requests_left_out_total')}[1h]))",
                        "left out, an hour",
                    ),
                    query(f"sum(increase({_metric('windows_total')}[1h]))", "windows, an hour"),
                    query(f"time() - min({_metric('last_window_timestamp_seconds')})", "last one"),
                ).override_by_name("last one", right_axis("s")),
                graph(
                    "The monitor's own work",
                    "Time of a cycle, share of a core, and cycles that failed.",
                    "s",
                    query("max(driftgate_monitor_cycle_seconds)", "a cycle"),
                    query(
                        'sum(rate(process_cpu_seconds_total{job="monitor"}[$__rate_interval]))',
                        "cores in use",
                    ),
                    query(
                        "sum(increase(driftgate_monitor_cycles_failed_total[1h]))",
                        "failed in an hour",
                    ),
                    query("min(driftgate_monitor_store_up)", "the store can be read (1)"),
                )
                .override_by_name("failed in an hour", unit_of("none"))
                .override_by_name("cores in use", unit_of("percentunit"))
                .override_by_name("the store can be read (1)", unit_of("none")),
            ],
        },
        since="now-24h",
    )
