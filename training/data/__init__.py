"""From raw examples to a set that may be trained on: read, check, curate, split, freeze."""
