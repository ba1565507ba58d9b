"""Scores of answers, one measure a file."""
