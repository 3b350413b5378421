"""Numbers to pictures: palettes, overlays, color bars, words, figures and animations. NumPy, no pyplot."""
