"""Data sets of the walk-through: real, public, built on the spot."""
