"""Engines: the processes that run a release, and what keeps them alive."""
