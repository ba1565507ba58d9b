"""The gateway: the OpenAI wire, keys, routing, engines and the store."""

__version__ = "0.1.0"
