"""Panels put together: one file an app."""
