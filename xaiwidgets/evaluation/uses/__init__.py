"""What explanations are used for: finding artifacts, comparing and choosing networks, and understanding errors."""
