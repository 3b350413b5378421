"""Mask optimization (review 2.3.10): what may be hidden, and what must be kept, is learned."""
