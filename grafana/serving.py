"""The dashboard *Serving*: are requests answered, soon enough, and by what."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board, chosen
from grafana.panels import (
    ENGINE_STATES,
    as_numbers,
    graph,
    now,
    number,
    query,
    right_axis,
    timeline,
)

_OF = 'gen_ai_request_model=~"$alias", gen_ai_response_model=~"$release"'
_ALIAS = 'gen_ai_request_model=~"$alias"'
_REQUESTS = "gen_ai_server_request_duration_seconds"
_FIRST = "gen_ai_server_time_to_first_token_seconds"
_EACH = "gen_ai_server_time_per_output_token_seconds"
# What the objectives allow; see monitoring/prometheus/rules/serving.yml.
_FAULTS, _LATE = 0.005, 0.05


def _quantile(q: float, histogram: str, of: str = _OF) -> str:
    rate = f"rate({histogram}_bucket{{{of}}}[$__rate_interval])"
    return f"histogram_quantile({q}, sum by (le) ({rate}))"


def _tokens(kind: str) -> str:
    of = f'{_OF}, gen_ai_token_type="{kind}"'
    return f"sum(rate(gen_ai_client_token_usage_sum{{{of}}}[$__rate_interval]))"


def serving() -> Dashboard:
    """Return the dashboard."""
    burning = ((None, "green"), (1.0, "orange"), (14.4, "red"))
    return board(
        "driftgate-serving",
        "Serving",
        "Requests, their latency and faults, what the gateway adds, and the engines behind it.",
        [
            chosen("alias", "Alias", f"{_REQUESTS}_count", "gen_ai_request_model"),
            chosen("release", "Release", f"{_REQUESTS}_count{{{_ALIAS}}}", "gen_ai_response_model"),
        ],
        {
            "Objectives": [
                number(
                    "Requests a second",
                    "All that reached an engine; what was refused before is further down.",
                    "reqps",
                    query(f"sum(rate({_REQUESTS}_count{{{_OF}}}[$__rate_interval]))"),
                ),
                number(
                    "Requests that fail",
                    "5xx, an error or an end inside a stream, over the last 5 minutes, of the "
                    "worst alias. The objective allows 0.5 % over 30 days.",
                    "percentunit",
                    query(f"max(alias:request_faults:ratio_rate5m{{{_ALIAS}}})"),
                    thresholds=((None, "green"), (_FAULTS, "orange"), (14.4 * _FAULTS, "red")),
                ),
                number(
                    "First tokens that are late",
                    "Streams whose first token took more than 2.5 s, over the last 5 minutes, of "
                    "the worst alias. The objective allows 5 %.",
                    "percentunit",
                    query(f"max(alias:first_token_late:ratio_rate5m{{{_ALIAS}}})"),
                    thresholds=((None, "green"), (_LATE, "orange"), (14.4 * _LATE, "red")),
                ),
                number(
                    "Alarms",
                    "Alerts that fire now, whatever they are about. Alertmanager shows which.",
                    "none",
                    now('count(ALERTS{alertstate="firing"}) or vector(0)'),
                    thresholds=((None, "green"), (1, "red")),
                ),
            ],
            "Requests": [
                graph(
                    "Requests by outcome",
                    "`error` and `truncated` ended inside a stream, `cancelled` was the client's "
                    "wish, numbers are HTTP statuses.",
                    "reqps",
                    query(
                        "sum by (error_type) (label_replace("
                        f"rate({_REQUESTS}_count{{{_OF}}}[$__rate_interval]), "
                        '"error_type", "done", "error_type", ""))',
                        "{{error_type}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Time to the first token",
                    "As clients see it, of streams. The dashed line is the objective for 95 %.",
                    "s",
                    query(_quantile(0.5, _FIRST), "half within"),
                    query(_quantile(0.95, _FIRST), "95 % within"),
                    query(_quantile(0.99, _FIRST), "99 % within"),
                    thresholds=((None, "transparent"), (2.5, "red")),
                ),
                graph(
                    "How fast the objectives' budgets burn",
                    "1 uses up 30 days' budget in 30 days, 14.4 in two (the page), 6 in five (the "
                    "ticket). An alert needs the long and the short window.",
                    "none",
                    query(
                        f"alias:request_faults:ratio_rate1h{{{_ALIAS}}} / {_FAULTS}",
                        "{{gen_ai_request_model}}: faults, 1 h",
                    ),
                    query(
                        f"alias:request_faults:ratio_rate6h{{{_ALIAS}}} / {_FAULTS}",
                        "{{gen_ai_request_model}}: faults, 6 h",
                    ),
                    query(
                        f"alias:first_token_late:ratio_rate1h{{{_ALIAS}}} / {_LATE}",
                        "{{gen_ai_request_model}}: first token, 1 h",
                    ),
                    query(
                        f"alias:first_token_late:ratio_rate6h{{{_ALIAS}}} / {_LATE}",
                        "{{gen_ai_request_model}}: first token, 6 h",
                    ),
                    thresholds=burning,
                ),
                graph(
                    "Tokens",
                    "A second, of all requests; and how long a token takes after the first.",
                    "short",
                    query(_tokens("input"), "read"),
                    query(_tokens("output"), "written"),
                    query(_quantile(0.95, _EACH), "95 % of tokens within"),
                ).override_by_name("95 % of tokens within", right_axis("s")),
            ],
            "Gateway": [
                graph(
                    "What the gateway adds to a request",
                    "Its own time, without waiting for the engine or for a place.",
                    "s",
                    query(_quantile(0.5, "driftgate_overhead_seconds", ""), "half within"),
                    query(_quantile(0.99, "driftgate_overhead_seconds", ""), "99 % within"),
                    query("max(driftgate_event_loop_lag_seconds)", "longest stop of an event loop"),
                    log=True,
                ),
                graph(
                    "Places",
                    "Requests that are served and that wait for a place; and those refused, by "
                    "status: 429 is a key's limit, 503 a full queue or no engine.",
                    "none",
                    query("sum(driftgate_requests_in_flight)", "served"),
                    query("sum(driftgate_requests_waiting)", "waiting"),
                    query(
                        "sum by (status) "
                        "(rate(driftgate_requests_refused_total[$__rate_interval]))",
                        "refused with {{status}}, a second",
                    ),
                ),
                graph(
                    "Records of the traffic",
                    "Written into the store, lost, and waiting on disk. What is lost, neither the "
                    "monitor nor the books know of.",
                    "none",
                    query(
                        "sum(rate(driftgate_records_written_total[$__rate_interval]))",
                        "written a second",
                    ),
                    query("sum(increase(driftgate_records_dropped_total[1h]))", "lost in an hour"),
                    query("sum(driftgate_records_spooled_bytes)", "waiting"),
                    query("min(driftgate_store_up)", "the store can be read (1)"),
                ).override_by_name("waiting", right_axis("bytes")),
                graph(
                    "Retrieval",
                    "Requests that retrieval looked at, by what it did; searches that failed (the "
                    "plain model answered); and how long a search takes.",
                    "reqps",
                    query(
                        "sum by (outcome) "
                        "(rate(driftgate_retrieval_requests_total[$__rate_interval]))",
                        "{{outcome}}",
                    ),
                    query(
                        "sum by (reason) "
                        "(rate(driftgate_retrieval_failures_total[$__rate_interval]))",
                        "failed: {{reason}}",
                    ),
                    query(
                        _quantile(0.95, "driftgate_retrieval_search_seconds", ""),
                        "95 % of searches within",
                    ),
                ).override_by_name("95 % of searches within", right_axis("s")),
            ],
            "Engines": [
                timeline(
                    "Slots",
                    "The state of each engine. Only a ready one gets requests; in a roll-out two "
                    "are ready.",
                    query(
                        as_numbers("driftgate_engine_state", ENGINE_STATES, "host, slot"),
                        "{{host}} {{slot}}",
                    ),
                    ENGINE_STATES,
                ),
                graph(
                    "Load",
                    "What vLLM computes and holds back, and how full its cache of keys and values "
                    "is: near 100 % it preempts requests. Only engines on TCP are scraped.",
                    "none",
                    query("sum by (slot) (vllm:num_requests_running)", "{{slot}}: running"),
                    query("sum by (slot) (vllm:num_requests_waiting)", "{{slot}}: waiting"),
                    query("max by (slot) (vllm:kv_cache_usage_perc)", "{{slot}}: cache"),
                ).override_by_regexp(".*: cache", right_axis("percentunit")),
            ],
        },
    )
