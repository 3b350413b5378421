"""The laboratory: panels that play a test by hand, the list of tests, thresholds, and the tables of the review."""
