"""The dashboard *Rollout and training*: which release serves, and the ones beside it."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import MONITOR, board, chosen, report_link
from grafana.panels import (
    HEALTH,
    HEALTH_STATES,
    bars,
    graph,
    grid,
    health,
    now,
    number,
    query,
    rows,
    timeline,
)

_OF = 'gen_ai_request_model=~"$alias", gen_ai_response_model=~"$release"'
_TARGET = 'alias=~"$alias", release=~"$release"'
_WEIGHT = f'driftgate_alias_weight{{{_TARGET}, mode="live"}}'
_BY = "gen_ai_response_model"
_FAULTY = ', error_type=~"5..|error|truncated"'
_COPIES = "driftgate_shadow_requests_total"
_ROLLOUTS = 'max by (alias, candidate, stage, status) (driftgate_rollout_info{alias=~"$alias"})'
_SINCE = "(time() - max by (alias) (driftgate_alias_changed_timestamp_seconds))"
_REQUESTS = "gen_ai_server_request_duration_seconds"


_SHADOW_TTFT = (
    "histogram_quantile(0.95, sum by (le, release) (rate("
    f"driftgate_shadow_time_to_first_token_seconds_bucket{{{_TARGET}}}[$__rate_interval])))"
)


def _quantile(histogram: str) -> str:
    rate = f"rate({histogram}_bucket{{{_OF}}}[$__rate_interval])"
    return f"histogram_quantile(0.95, sum by (le, {_BY}) ({rate}))"


def _rate(more: str = "") -> str:
    return f"sum by ({_BY}) (rate({_REQUESTS}_count{{{_OF}{more}}}[$__rate_interval]))"


def rollout() -> Dashboard:
    """Return the dashboard."""
    jobs = "driftgate_training_jobs"
    return board(
        "driftgate-rollout",
        "Rollout and training",
        "Which release an alias serves, how a new one compares with it, and the trainings that "
        "make new ones.",
        [
            chosen("alias", "Alias", "driftgate_alias_weight", "alias"),
            chosen("release", "Release", 'driftgate_alias_weight{alias=~"$alias"}', "release"),
            MONITOR,
        ],
        {
            "Releases": [
                number(
                    "Served now",
                    "Each release with live traffic, and its share.",
                    "percentunit",
                    now(
                        f"max by (alias, release) ({_WEIGHT}) > 0",
                        "{{alias}}: {{release}}",
                    ),
                    span=10,
                    named=True,
                ),
                health(
                    "Health", "The state that the gateway acts on. Click for the report.", 7
                ).data_links([report_link()]),
                number(
                    "Since the last change",
                    "How long the alias that was moved last has pointed where it points.",
                    "s",
                    now('time() - max(driftgate_alias_changed_timestamp_seconds{alias=~"$alias"})'),
                    span=7,
                ),
                graph(
                    "Shares of the traffic",
                    "Live releases as they are configured; a canary grows from 1 to 100 %.",
                    "percentunit",
                    query(
                        f"sum by (alias, release) ({_WEIGHT})",
                        "{{alias}}: {{release}}",
                    ),
                    stacked=True,
                ),
                timeline(
                    "Health over time",
                    "A retraining goes DEGRADED → RETRAINING → CANARY → HEALTHY.",
                    query(HEALTH, "{{alias}}"),
                    HEALTH_STATES,
                ),
            ],
            "One release beside the other": [
                graph(
                    "Requests",
                    "What each release really gets.",
                    "reqps",
                    query(_rate(), f"{{{{{_BY}}}}}"),
                    stacked=True,
                ),
                graph(
                    "Requests that fail",
                    "5xx, an error or an end inside a stream. A release without any is at 0.",
                    "percentunit",
                    query(
                        f"({_rate(_FAULTY)} or 0 * {_rate()}) / {_rate()}",
                        f"{{{{{_BY}}}}}",
                    ),
                    thresholds=((None, "transparent"), (0.005, "red")),
                ),
                graph(
                    "Time to the first token",
                    "95 % within; the dashed line is the objective.",
                    "s",
                    query(_quantile("gen_ai_server_time_to_first_token_seconds"), f"{{{{{_BY}}}}}"),
                    query(_SHADOW_TTFT, "{{release}}, in shadow"),
                    thresholds=((None, "transparent"), (2.5, "red")),
                ),
                graph(
                    "Time per output token",
                    "95 % within, after the first token.",
                    "s",
                    query(
                        _quantile("gen_ai_server_time_per_output_token_seconds"), f"{{{{{_BY}}}}}"
                    ),
                ),
                graph(
                    "Evidence of harm",
                    "The strongest signal of each release as a share of what alarms: 1 asks for a "
                    "retraining, or rolls a canary back.",
                    "none",
                    query(
                        f"alias_release:harm_evidence:ratio{{{_TARGET}}}", "{{alias}} {{release}}"
                    ),
                    thresholds=((None, "transparent"), (1, "red")),
                    log=True,
                ).data_links([report_link()]),
                bars(
                    "Golden probes",
                    "Mean score of the fixed questions, by release.",
                    "percentunit",
                    now(f"driftgate_monitor_probe_score{{{_TARGET}}}", "{{alias}} {{release}}"),
                    thresholds=((None, "red"), (0.7, "orange"), (0.85, "green")),
                    most=1,
                ),
            ],
            "Rollouts and training": [
                graph(
                    "Copies for a shadow",
                    "Requests that a release in shadow mode was asked again, by how that went. "
                    "Nobody sees its answers.",
                    "reqps",
                    query(
                        f"sum by (release, outcome) (rate({_COPIES}{{{_TARGET}}}"
                        "[$__rate_interval]))",
                        "{{release}}: {{outcome}}",
                    ),
                    stacked=True,
                ),
                grid(
                    "Newest rollouts",
                    "Where each is and how it stands, and for how long the alias has pointed where "
                    "it points. `driftgate rollout show` has the evidence.",
                    {
                        "since the last move": rows(
                            f"{_ROLLOUTS} * on (alias) group_left () {_SINCE}"
                        )
                    },
                    span=12,
                ).unit("s"),
                graph(
                    "Jobs at work",
                    "Waiting, running and paused; and those that failed in the last hour.",
                    "none",
                    query(
                        f'max by (status) ({jobs}{{status!~"succeeded|failed|cancelled"}})',
                        "{{status}}",
                    ),
                    query(
                        f'max({jobs}{{status="failed"}}) - '
                        f'min(min_over_time({jobs}{{status="failed"}}[1h]))',
                        "failed in the last hour",
                    ),
                ),
            ],
        },
        since="now-24h",
    )
