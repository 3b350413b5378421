"""Controls made from knobs, the canvas, and the panels that the apps are put together from."""
