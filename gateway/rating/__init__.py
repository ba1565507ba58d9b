"""What a rater of a blind comparison sees and says: pages of their own under `/compare`."""
