"""What a training run will need, before it runs: memory, time, cost, and which method fits.

`architecture` reads a model's shape, `memory` and `throughput` estimate, `fit` decides, `dry_run`
measures two real steps in a process of its own and `calibration` holds the two side by side.
"""
