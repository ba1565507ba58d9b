"""Fine-tuning, retrieval, both, or neither: from answers to questions, or from measured scores."""
