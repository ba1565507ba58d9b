"""What the votes of a blind comparison show; pure computing, without store and web."""
