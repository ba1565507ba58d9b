"""Monitoring: notice that a model went stale, without crying wolf. Not in this release."""
