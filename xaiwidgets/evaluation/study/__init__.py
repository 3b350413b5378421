"""Studies in which people judge explanations: plan, answers, and what they add up to."""
