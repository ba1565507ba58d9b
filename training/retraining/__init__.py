"""The retraining of an alias, from a request to its outcome: `steps` is what, `process` how."""
