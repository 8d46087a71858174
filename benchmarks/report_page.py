"""How long the page of a study takes to open: the median of several cold starts of a page in Debian's Chromium.

    .venv/bin/python benchmarks/report_page.py results/mini/report.html

Seconds from the navigation to the load event, to the first paint, and until every figure is drawn.
"""

import sys
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

REPEATS = 7
TIMES = """() => ({
    "loaded": performance.getEntriesByType("navigation")[0].loadEventEnd,
    "first paint": performance.getEntriesByName("first-contentful-paint")[0].startTime,
    "all figures": performance.getEntriesByName("figures")[0].startTime,
})"""


def main(path: Path) -> None:
    """Print size and times."""
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    times: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        for _ in range(REPEATS):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto(path.resolve().as_uri())
            page.wait_for_selector("body[data-ready=yes]")
            for name, milliseconds in page.evaluate(TIMES).items():
                times.setdefault(name, []).append(milliseconds / 1000)
            page.context.close()
        browser.close()
    for name, taken in times.items():
        print(f"{name:>14}: median {median(taken):.2f} s, most {max(taken):.2f} s of {REPEATS}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/mini/report.html"))
