"""The classifier under study, the pictures and labels that go with it, and the one way it sees them."""
