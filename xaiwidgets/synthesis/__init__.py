"""Pictures made to excite a unit, in the room of the input layer. Importing it loads no torch."""
