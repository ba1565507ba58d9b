"""The benchmark of retrieval: latency, recall, freshness and quality, on two cores.

Run it with `python -m loadtests.retrieval`; `--help` tells what it measures and what it needs.
"""
