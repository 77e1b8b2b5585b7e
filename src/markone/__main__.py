"""``python -m markone``."""

import sys

from markone.cli import main

if __name__ == "__main__":
    sys.exit(main())
