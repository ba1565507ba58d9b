"""One file per sub-command of the training package."""
