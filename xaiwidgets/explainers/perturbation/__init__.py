"""What the score does when parts of the picture are hidden."""
