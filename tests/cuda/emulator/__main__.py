"""``python -m emulator FOLDER``: make the driver in a folder."""

import sys
from pathlib import Path

from . import library

library(Path(sys.argv[1]))
