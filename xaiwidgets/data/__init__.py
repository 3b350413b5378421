"""Files that ship with the package, and the small teaching nets with the canvases that they learn from."""
