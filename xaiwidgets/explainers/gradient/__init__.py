"""The derivative of the score with respect to the picture, and averages of it."""
