"""The benchmarks are a package below asv_bench, for asv and for these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
