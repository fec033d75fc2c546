"""``python -m aiowsgi``: the same as the command ``aiowsgi``."""

import sys

from aiowsgi.cli import main

if __name__ == "__main__":
    sys.exit(main())
