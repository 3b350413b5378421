"""Techniques that train something; importing a module of this room loads no torch."""
