"""``python -m nbsmce``: what this installation is, and a demonstration."""

import sys

from ._cli import main

if __name__ == "__main__":
    sys.exit(main())
