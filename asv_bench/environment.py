"""What asv runs to fill an environment: the pinned peers, and what a GPU needs where there is one."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

files = [HERE / "requirements.txt", *([HERE / "requirements-cuda.txt"] if shutil.which("nvidia-smi") else [])]
subprocess.run([sys.executable, "-m", "pip", "install", *(word for f in files for word in ("-r", str(f)))], check=True)
