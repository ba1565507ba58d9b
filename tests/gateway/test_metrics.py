"""Tallies against prometheus_client's own arithmetic."""

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway.metrics import Metrics, Tally


def test_a_tally_amounts_to_the_same_as_observing() -> None:
    values = [0.0, 0.1, 0.5, 1.0, 1.0000001, 2.0, 99.0]
    values += [random.Random(n).expovariate(1) for n in range(500)]
    shown = []
    for through_tally in (False, True):
        registry = CollectorRegistry()
        histogram = Histogram("h", "h", buckets=(0.1, 0.5, 1.0, 2.0), registry=registry)
        tally = Tally(histogram)
        for value in values:
            (tally.observe if through_tally else histogram.observe)(value)
        tally.flush()
        tally.flush()  # nothing is counted twice
        lines = generate_latest(registry).decode().splitlines()
        shown.append([line for line in lines if "created" not in line])
    assert shown[0][:-1] == shown[1][:-1]
    sums = [float(lines[-1].split()[1]) for lines in shown]
    assert abs(sums[0] - sums[1]) < 1e-6


def test_a_request_is_counted_once_everywhere() -> None:
    metrics = Metrics()
    metrics.observe(
        operation="chat", alias="a", release="a-1", error="", duration_s=1.0, ttft_s=0.5,
        overhead_s=0.001, prompt_tokens=3, completion_tokens=6,
    )  # fmt: skip
    text = metrics.render()[0].decode()
    for line in (
        "driftgate_overhead_seconds_count 1.0",
        'time_per_output_token_seconds_sum{gen_ai_operation_name="chat",'
        'gen_ai_request_model="a",gen_ai_response_model="a-1"} 0.1',
    ):
        assert line in text
    assert text.count("_count{") - text.count("_count{} 0") == 5
