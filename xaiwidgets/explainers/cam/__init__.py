"""Maps of a hidden layer, weighted by what each channel does for the score."""
