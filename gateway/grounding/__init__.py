"""Answers from documents: the stage between admission and the engine, for requests that want it.

A request that does not never enters it. What it decides with is in `retrieval` (gate, sufficiency,
grounding, citations); here is what ties that to a call, an engine's answer and the store.
"""
