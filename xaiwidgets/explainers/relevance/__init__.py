"""Relevance that starts at a score and is shared, layer by layer, down to the pixels."""
