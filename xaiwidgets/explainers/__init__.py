"""Techniques of the output layer: what in the picture speaks for this score (review section 2.3)."""
