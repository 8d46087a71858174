"""How long the page of a study takes to open: the median of several cold starts of a page in Debian's Chromium.

    .venv-browser/bin/python benchmarks/report_page.py results/mini/report.html

Seconds from the navigation to the load event, to the first figure, and until every figure is drawn.
"""

import sys
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

REPEATS = 7
READY = {
    "loaded": "performance.timing.loadEventEnd > 0",
    "first figure": "document.querySelector('.plot .main-svg')",
    "all figures": "document.body.dataset.ready",
}


def main(path: Path) -> None:
    """Print size and times."""
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    times: dict[str, list[float]] = {name: [] for name in READY}
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        for _ in range(REPEATS):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto(path.resolve().as_uri(), wait_until="commit")
            for name, is_there in READY.items():
                page.wait_for_function(is_there, polling=10)
                times[name].append(page.evaluate("performance.now()") / 1000)
            page.context.close()
        browser.close()
    for name, taken in times.items():
        print(f"{name:>14}: median {median(taken):.2f} s, most {max(taken):.2f} s of {REPEATS}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/mini/report.html"))
