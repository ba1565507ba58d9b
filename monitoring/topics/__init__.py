"""What prompts are about: clusters of the reference named in words, and what is new or has grown.

scikit-learn and scipy are loaded when topics are fitted or looked for, not on import.
"""

from monitoring.topics.emerging import Emerging
from monitoring.topics.naming import Topic
from monitoring.topics.topics import NEW, UNKNOWN, Topics, TopicsUnusable

__all__ = ["NEW", "UNKNOWN", "Emerging", "Topic", "Topics", "TopicsUnusable"]
