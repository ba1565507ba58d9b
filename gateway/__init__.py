"""Driftgate's gateway: an OpenAI-compatible front for fine-tuned models."""

from gateway import compiled

__version__ = "0.1.0"
compiled.use(__path__)
