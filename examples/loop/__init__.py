"""The loop closes by itself, on one machine: `make demo-loop`. Start reading in `__main__`."""
