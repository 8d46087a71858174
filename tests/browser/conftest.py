"""A page in a real browser: that of a study made for the tests, or of one that is finished already.

`pytest tests/browser --results results/mini` tests the page of that study, as it stands.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from tests.workflow.clone import REPOSITORY, Clone

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", help="folder of a finished study, instead of running `smoke`")


@dataclass
class Opened:
    """A page, with all that it asked for and complained of since it was opened."""

    page: Page
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study with a page: real training, evaluation and fits."""
    given = request.config.getoption("--results")
    if given:
        return Path(given).resolve()
    folder = tmp_path_factory.mktemp("study") / "clone"
    for name in ("config", "envs", "src", "workflow"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy2(REPOSITORY / "Snakefile", folder)
    Clone(folder).snakemake("smoke")
    return folder / "results/smoke"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        opened = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


def open_page(context: BrowserContext, results: Path) -> Opened:
    """Open the page of a study and wait until every figure is drawn."""
    opened = Opened(context.new_page())
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
    opened.page.on("pageerror", lambda error: opened.said.append(f"error: {error}"))
    opened.page.goto((results / "report.html").as_uri())
    opened.page.wait_for_selector("body[data-ready=yes]")
    return opened


@pytest.fixture(scope="session")
def shared(browser: Browser, results: Path) -> Opened:
    """The page on a desktop; tests leave it as they found it, or use what others may change."""
    return open_page(browser.new_context(viewport=DESKTOP, reduced_motion="reduce"), results)


@pytest.fixture
def page(shared: Opened) -> Page:
    return shared.page


@pytest.fixture(scope="session")
def phone(browser: Browser, results: Path) -> Page:
    """The page on a phone."""
    context = browser.new_context(viewport=PHONE, device_scale_factor=2, has_touch=True, is_mobile=True)
    return open_page(context, results).page
