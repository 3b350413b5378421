"""``python -m xaiwidgets.serving`` is the ``xaiwidgets`` command."""

from __future__ import annotations

import sys

from xaiwidgets.serving.cli import main

if __name__ == "__main__":
    sys.exit(main())
