"""Locust users: who asks, and what is measured of the answers."""
