"""What several explanations of one score say together (review section 2.3.10)."""
