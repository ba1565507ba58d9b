"""What can be asked: an OpenAI-compatible endpoint, or a model folder on this machine."""
