"""Driftgate beside other gateways, on this machine, against one mock engine: `make bench`.

Who calls whom, from the top:

- `__main__`: the command line; rounds, interleaved; progress; interrupted runs go on
- `session`: one system, started, verified, warmed up and measured
- `peers`, `driftgate`: how each system is started; `install`: how the peers get here
- `wrk`, `tokens`, `memory`, `usage`: the measurements; `placement`: on which core
- `mock`: the engine; `process`: starting and ending processes
- `results`: what was measured, as records and as `bench.json`
- `goals`, `report`, `chart`: what it means: `bench.md` and `bench.png`
"""
