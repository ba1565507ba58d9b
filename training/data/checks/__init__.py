"""One file per check: a function from examples to findings."""
