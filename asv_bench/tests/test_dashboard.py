"""The published pages in a real browser, cut off from every other server.

The results are one quick run of this checkout, copied to older commits with other numbers, so that there are lines and
a regression to look at. Screenshots are kept in the folder that ``DASHBOARD_SCREENSHOTS`` names.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import plots
import publish
import pytest

sync_api = pytest.importorskip("playwright.sync_api")
HERE = Path(publish.__file__).parent
BENCH = "|".join(
    (
        r"softmax\.Softmax\.time_softmax\(.*'(1x10|64x128)'",
        r"CrossEntropy\.time_cross_entropy\('nbsmce', '1x10'",
        r"Errors.*1\.0\)",
    )
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MACHINE, OTHER = "cpu-bench", "gpu-bench"


@functools.cache
def commits() -> list[str]:
    told = ["git", "rev-list", "--first-parent", "-n", "8", "HEAD"]
    return subprocess.run(told, cwd=HERE, check=True, capture_output=True, text=True).stdout.split()


def with_a_past(results: Path) -> None:
    """Four commits ago everything was faster, which asv reports as a regression; the other machine is faster yet."""
    source = next((results / MACHINE).glob("*-*.json"))
    newest = json.loads(source.read_text())
    for age, commit in enumerate(commits()):
        date = subprocess.run(
            ["git", "show", "-s", "--format=%ct", commit], cwd=HERE, check=True, capture_output=True, text=True
        ).stdout
        other = json.loads(source.read_text()) | {"commit_hash": commit, "date": 1000 * int(date)}
        for measured in other["results"].values():
            measured[0] = [v and v * (1 if age < 4 else 0.6) * (1 + 0.01 * (age % 3)) for v in measured[0]]
            del measured[3:]  # samples and their statistics
        name = source.name.replace(newest["commit_hash"][:8], commit[:8])
        (results / MACHINE / name).write_text(json.dumps(other))
    shutil.copytree(results / MACHINE, results / OTHER)
    for path in (results / OTHER).glob("*.json"):
        other = json.loads(path.read_text().replace(MACHINE, OTHER))
        for measured in other.get("results", {}).values():
            measured[0] = [v and v / 2 for v in measured[0]]
        path.write_text(json.dumps(other))


@pytest.fixture(scope="module")
def site(asv):
    assert len(commits()) == 8, "the last commits are not in this clone"
    folder = asv.folder
    asv.run(MACHINE, BENCH, "--set-commit-hash", commits()[0])
    with_a_past(folder / "results")
    publish.publish(folder / "html", asv.config)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder / "html"))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def page(site):
    """A page that reaches the site and nothing else, and notes what it asked for elsewhere."""
    if CHROMIUM is None:
        pytest.fail("no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.elsewhere, page.errors = [], []

        def only_here(route):
            if route.request.url.startswith(site):
                route.continue_()
            else:
                page.elsewhere.append(route.request.url)
                route.abort()

        page.route("**/*", only_here)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(site)
        yield page
        browser.close()


def keep(page, name):
    folder = os.environ.get("DASHBOARD_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_the_grid_has_a_picture_for_each_benchmark(page):
    page.wait_for_selector("#summarygrid-display canvas, #summarygrid-display .benchmark-plot", timeout=20_000)
    keep(page, "grid")
    text = page.inner_text("#summarygrid-display")
    assert "time_softmax" in text.replace("\n", "")
    assert "track_max_ulp" in text.replace("\n", "")


def test_a_graph_has_the_libraries_as_lines(page, site):
    page.locator("#summarygrid-display a", has_text="Softmax.time_softmax").first.click()
    page.wait_for_selector("#main-graph canvas", timeout=20_000)
    page.goto(site + "#softmax.Softmax.time_softmax?p-shape='1x10'")
    page.wait_for_timeout(500)
    keep(page, "graph")
    legend = page.inner_text("#main-graph")
    for library in ("nbsmce", "PyTorch", "SciPy", "JAX"):
        assert library in legend
    machines = page.inner_text("#graphdisplay-navigation")
    assert MACHINE in machines
    assert OTHER in machines


def test_libraries_can_be_switched_off(page):
    buttons = page.locator("#graphdisplay-navigation a, #graphdisplay-navigation button", has_text="SciPy")
    buttons.first.click()
    page.wait_for_timeout(500)
    keep(page, "graph-without-scipy")
    assert "SciPy" not in page.inner_text("#main-graph")


def test_the_regressions_are_of_nbsmce(page, site):
    page.goto(site + "#/regressions")
    page.wait_for_selector("#regressions-body table tbody tr", timeout=20_000)
    keep(page, "regressions")
    text = page.inner_text("#regressions-body")
    assert "time_softmax" in text
    for peer in ("PyTorch", "SciPy", "JAX"):
        assert peer not in text


def test_the_list_has_the_last_values(page, site):
    page.goto(site + "#/summarylist")
    page.wait_for_selector("#summarylist-body table tbody tr", timeout=20_000)
    keep(page, "list")
    assert "time_cross_entropy" in page.inner_text("#summarylist-body")


@pytest.mark.usefixtures("site")
def test_the_pictures_are_drawn(asv, tmp_path):
    results = plots.Results(MACHINE, folder=asv.folder / "results")
    assert results.of(plots.SPEED["softmax"]).keys() >= {("nbsmce", "1x10"), ("SciPy", "1x10")}
    assert ("nbsmce", "512x1000") not in results.of(plots.SPEED["softmax"]), "was not measured"
    for draw in (plots.speed, plots.limit, plots.ulp):
        draw(results).savefig(tmp_path / f"{draw.__name__}.png")
        assert (tmp_path / f"{draw.__name__}.png").stat().st_size > 10_000


def test_nothing_was_asked_of_another_server(page):
    assert page.elsewhere == []
    assert page.errors == []
