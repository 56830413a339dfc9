"""Contact ports and see what answers."""
