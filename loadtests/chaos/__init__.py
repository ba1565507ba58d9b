"""Faults while clients go on asking, and what became of every request: `make chaos`.

Who calls whom, from the top:

- `__main__`: the command line; `scorecard`: the report
- `scenarios`: the list of all; `scenarios_{engine,store,departure,client,fuzz,process}`: what fails
- `traffic`: clients that ask and judge; `raw`: clients that do not behave; `mutate`: their bytes
- `records`: what Driftgate wrote down, held against what clients saw
- `targets`: what a gateway is; `driftgate`, `litellm`: the two
- `engine`, `engine_process`, `postgres`: what is behind them, and breaks
- `score`: what a scenario returns
"""
