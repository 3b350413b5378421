"""The ``xaiwidgets`` command and the page it serves: Voila's settings and template, and the notebooks."""
