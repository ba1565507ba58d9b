"""The lanes of a worker: which rows are up, and a process of its own for each."""
