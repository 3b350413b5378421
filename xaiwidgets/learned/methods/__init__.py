"""Methods that use a network which was trained for them. Importing it loads no torch."""
