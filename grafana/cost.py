"""The dashboard *Cost and keys*: who uses how much, and what is left of budgets."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board, chosen, written
from grafana.panels import bars, graph, grid, now, number, query, rows, unit_of

_KEYS = 'name=~"$key"'
_MODEL = 'gen_ai_request_model=~"$alias", gen_ai_response_model=~"$release"'
_USAGE = "gen_ai_client_token_usage"


def _used(kind: str, over: str) -> str:
    return f'sum(increase({_USAGE}_sum{{{_MODEL}, gen_ai_token_type="{kind}"}}[{over}]))'


def _cost(over: str) -> str:
    return f"({_used('input', over)} * $price_in + {_used('output', over)} * $price_out) / 1e6"


def _key_tokens(kind: str, over: str) -> str:
    of = f'{_KEYS}, type="{kind}"'
    return f"sum by (key, name) (increase(driftgate_key_tokens_total{{{of}}}[{over}]))"


def cost() -> Dashboard:
    """Return the dashboard."""
    count = "gen_ai_server_request_duration_seconds_count"
    return board(
        "driftgate-cost",
        "Cost and keys",
        "Tokens by key and by model, budgets, refusals, and a price that you set above.",
        [
            chosen("alias", "Alias", count, "gen_ai_request_model"),
            chosen(
                "release",
                "Release",
                f'{count}{{gen_ai_request_model=~"$alias"}}',
                "gen_ai_response_model",
            ),
            chosen("key", "Key", "driftgate_key_requests_total", "name"),
            written("price_in", "Price of a million tokens read", "1"),
            written("price_out", "… written", "1"),
        ],
        {
            "In the time shown": [
                number(
                    "Cost",
                    "Tokens at the prices set above, of all keys.",
                    "short",
                    now(_cost("$__range")),
                ),
                number(
                    "Tokens read",
                    "Prompts, passages of retrieval included.",
                    "short",
                    now(_used("input", "$__range")),
                ),
                number("Tokens written", "Answers.", "short", now(_used("output", "$__range"))),
                number(
                    "Fullest budget",
                    "The key that has used most of a day's or a month's budget.",
                    "percentunit",
                    now(f"max(driftgate_key_budget_used_ratio{{{_KEYS}}})"),
                    thresholds=((None, "green"), (0.75, "orange"), (0.9, "red")),
                ),
            ],
            "Keys": [
                bars(
                    "Budgets",
                    "How much is used of the tokens of this day and month (UTC). At 90 % an alert "
                    "goes out, at 100 % the key is refused.",
                    "percentunit",
                    now(
                        f"max by (name, key, budget) (driftgate_key_budget_used_ratio{{{_KEYS}}})",
                        "{{name}} {{key}}: {{budget}}",
                    ),
                    thresholds=((None, "green"), (0.75, "orange"), (0.9, "red")),
                    most=1,
                ),
                grid(
                    "Use by key",
                    "In the time shown, from the traffic log; counted since the monitor started.",
                    {
                        "requests": rows(
                            "sum by (key, name) "
                            f"(increase(driftgate_key_requests_total{{{_KEYS}}}[$__range]))"
                        ),
                        "tokens read": rows(_key_tokens("input", "$__range")),
                        "tokens written": rows(_key_tokens("output", "$__range")),
                    },
                    span=12,
                )
                .unit("short")
                .decimals(0),
                graph(
                    "Tokens a second, the ten busiest keys",
                    "Read and written together.",
                    "short",
                    query(
                        "topk(10, sum by (key, name) "
                        f"(rate(driftgate_key_tokens_total{{{_KEYS}}}[$__rate_interval])))",
                        "{{name}} {{key}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Requests a second, the ten busiest keys",
                    "`none` are requests that needed no key.",
                    "reqps",
                    query(
                        "topk(10, sum by (key, name) "
                        f"(rate(driftgate_key_requests_total{{{_KEYS}}}[$__rate_interval])))",
                        "{{name}} {{key}}",
                    ),
                    stacked=True,
                ),
            ],
            "Models": [
                graph(
                    "Cost an hour",
                    "By alias and release, at the prices set above.",
                    "short",
                    *(
                        query(
                            "sum by (gen_ai_request_model, gen_ai_response_model) ("
                            f'rate({_USAGE}_sum{{{_MODEL}, gen_ai_token_type="{kind}"}}'
                            "[$__rate_interval]))"
                            f" * 3600 * ${price} / 1e6",
                            f"{{{{gen_ai_request_model}}}} {{{{gen_ai_response_model}}}}: {verb}",
                        )
                        for kind, price, verb in (
                            ("input", "price_in", "read"),
                            ("output", "price_out", "written"),
                        )
                    ),
                    stacked=True,
                ),
                graph(
                    "Tokens of a request",
                    "Mean, by alias. Prompts that grow are often passages or long conversations.",
                    "short",
                    query(
                        "sum by (gen_ai_request_model, gen_ai_token_type) "
                        f"(rate({_USAGE}_sum{{{_MODEL}}}[$__rate_interval])) / "
                        "sum by (gen_ai_request_model, gen_ai_token_type) "
                        f"(rate({_USAGE}_count{{{_MODEL}}}[$__rate_interval]))",
                        "{{gen_ai_request_model}}: {{gen_ai_token_type}}",
                    ),
                ),
            ],
            "What was refused, and what is kept": [
                graph(
                    "Refused requests",
                    "A second, by status: 401 a wrong key, 403 a scope, 429 a limit or a budget, "
                    "503 no place.",
                    "reqps",
                    query(
                        "sum by (status) "
                        "(rate(driftgate_requests_refused_total[$__rate_interval]))",
                        "{{status}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Indexes on disk",
                    "Bytes by collection of documents, and how many documents can be found.",
                    "bytes",
                    query("topk(10, driftgate_retrieval_bytes)", "{{collection}}"),
                    query("sum(driftgate_retrieval_documents)", "documents"),
                ).override_by_name("documents", unit_of("none")),
            ],
        },
        since="now-24h",
    )
