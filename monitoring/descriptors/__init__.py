"""What the monitor measures of each request without any model: descriptors, and losses."""

from monitoring.descriptors.described import Descriptors, describe
from monitoring.descriptors.losses import losses

__all__ = ["Descriptors", "describe", "losses"]
