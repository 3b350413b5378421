"""Evaluations: what each asks of an explanation is on its card. Importing a module of this room loads no torch."""
