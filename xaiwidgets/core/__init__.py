"""Knobs, cards and results: what every other room talks in. Loads no torch."""
