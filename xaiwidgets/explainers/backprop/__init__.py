"""A backward pass with other rules than the derivative's."""
