"""One file per sub-command of the monitoring package."""
