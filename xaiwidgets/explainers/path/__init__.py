"""Gradients added up along a path from a baseline to the picture."""
