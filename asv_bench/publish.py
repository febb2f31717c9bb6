"""The dashboard: ``python asv_bench/publish.py [FOLDER]`` writes asv's pages so that they need no other server.

asv's own pages load their scripts from three other sites, and show a swallow where those cannot be reached. Here they
are taken from npm packages, pinned with their hashes in ``dashboard/``, and put beside the pages.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = HERE / "dashboard"

# The end of the address in asv's pages, and the file of a package that is the same.
FILES = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}


def packages() -> Path:
    """The folder of the packages, installed if they are not: no script of theirs is run."""
    folder = PACKAGES / "node_modules"
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("npm is needed once, for the scripts of the pages")
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=PACKAGES, check=True)
    return folder


def own_scripts(html: Path) -> None:
    """Put what the page loads from elsewhere beside it."""
    vendor = html / "vendor"
    vendor.mkdir(exist_ok=True)
    index = html / "index.html"

    def local(match: re.Match[str]) -> str:
        tag, address = match.group(), match.group(1)
        source = packages() / FILES[address.rpartition("/")[2]]
        shutil.copy(source, vendor)
        tag = tag.replace(address, f"vendor/{source.name}")
        return re.sub(r' (integrity|crossorigin|referrerpolicy)="[^"]*"', "", tag)

    page = re.sub(r'<(?:script|link)[^>]*(?:src|href)="(https?://[^"]+)"[^>]*>', local, index.read_text())
    index.write_text(page)
    shutil.copytree(packages() / "bootstrap/dist/fonts", html / "fonts", dirs_exist_ok=True)


def plain_numbers(html: Path) -> None:
    """Ticks such as 9000 where asv writes 9.00e+3."""
    script = html / "graphdisplay.js"
    before, after = "return (v / multiplier).toPrecision(3);", "return String(+(v / multiplier).toPrecision(3));"
    text = script.read_text()
    if before not in text:
        raise SystemExit("asv's pages are not those that publish.py knows; see the version in pyproject.toml")
    script.write_text(text.replace(before, after))


def in_order(html: Path) -> None:
    """The first machine of the list is the one that pages open with; asv takes them as the file system has them."""
    path = html / "index.json"
    index = json.loads(path.read_text())
    index["graph_param_list"].sort(key=lambda g: (str(g.get("machine")), str(g.get("python"))))
    path.write_text(json.dumps(index))


def publish(html: Path, config: Path = HERE / "asv.conf.json") -> None:
    command = [sys.executable, "-m", "asv", "publish", "--config", str(config), "--html-dir", str(html)]
    subprocess.run(command, check=True, cwd=config.parent)
    own_scripts(html)
    plain_numbers(html)
    in_order(html)


if __name__ == "__main__":
    publish(Path(sys.argv[1]).resolve() if sys.argv[1:] else HERE / "html")
