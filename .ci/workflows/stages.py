"""The stages of .ci/run that the workflows call, and a complaint about a step that runs anything else."""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
used: set[str] = set()
for path in sorted(FOLDER.glob("*.yml")):
    text = path.read_text()
    matrix = re.findall(r"^ +stage: \[(.*)\]$", text, flags=re.M)
    listed = [name.strip() for names in matrix for name in names.split(",")]
    block = re.search(r"^( +)stage:\n((?:\1 +- .*\n)+)", text, flags=re.M)
    listed += re.findall(r"- (\S+)", block.group(2)) if block else []
    for command in re.findall(r"^ +(?:- )?run: (?!\|)(.+)", text, flags=re.M):
        if not command.startswith(".ci/run "):
            if "GITHUB_STEP_SUMMARY" not in command:
                sys.exit(f"{path.name}: {command!r} is no stage of .ci/run")
            continue
        stage = command.removeprefix(".ci/run ")
        used.update(listed if "matrix.stage" in stage else stage.split())
print(*sorted(used))
