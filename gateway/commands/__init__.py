"""The gateway's sub-commands of `driftgate`, one file per noun."""
