"""Retrieval: embeddings now; documents, indexes and search to come. It knows no chat models."""
