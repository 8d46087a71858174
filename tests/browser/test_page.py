"""The page of a study in real Chromium: what it shows, what it answers, who can use it, and that it asks nobody."""

import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from rlscale.files import read_json
from tests.browser.conftest import Opened

MOST_BYTES = 6_000_000


def test_it_is_one_file_of_moderate_size(results: Path) -> None:
    assert (results / "report.html").stat().st_size < MOST_BYTES


def test_every_figure_of_the_study_is_drawn(page: Page, results: Path) -> None:
    told = read_json(results / "specs/study/report.json")
    names = {"reuse": "tau"}
    expected = {names.get(one, one).replace("_", "-") for one in told["figures"]}
    expected -= {f"profile-{x}" for x in told["x"]} | {"controls"}
    drawn = set(
        page.eval_on_selector_all(".plot .main-svg:first-child", "all => all.map(one => one.closest('figure').id)")
    )
    assert expected <= drawn
    for key in drawn:
        marks = page.locator(f"#{key} .plot .trace").count()
        assert marks > 0, f"{key} has no marks"
        assert page.locator(f"#{key} details.numbers tbody tr").count() > 0, f"no table behind {key}"
        assert page.locator(f"#{key} details.provenance code").count() > 2, f"no provenance of {key}"


def test_hovering_says_which_run_and_links_its_record(page: Page, results: Path) -> None:
    key = page.locator(".plot[data-figure^=loss-]").first.get_attribute("data-figure")
    plot = page.locator(f"#{key} .plot")
    plot.scroll_into_view_if_needed()
    x, y = plot.evaluate(
        """plot => {
            const at = plot.data.findIndex(trace => trace.meta && trace.meta.record);
            const box = plot.getBoundingClientRect();
            const {xaxis, yaxis} = plot._fullLayout;
            const mid = Math.floor(plot.data[at].x.length / 2);
            return [box.x + xaxis._offset + xaxis.d2p(plot.data[at].x[mid]),
                    box.y + yaxis._offset + yaxis.d2p(plot.data[at].y[mid])];
        }"""
    )
    page.mouse.move(x - 40, y - 40)
    page.mouse.move(x, y, steps=4)
    page.wait_for_selector(f"#{key} .hovertext")
    hovered = page.locator(f"#{key} .hovertext").text_content() or ""
    said = page.locator(f"#{key}-point").inner_text()
    runs = read_json(results / "specs/study/report.json")["runs"]
    assert any(one in hovered and one in said for one in runs), (hovered, said)
    href = page.locator(f"#{key}-point a").get_attribute("href")
    assert href
    assert (results / href).is_file(), f"{href} leads nowhere"


def test_arrows_go_from_point_to_point(page: Page) -> None:
    key = page.locator(".plot[data-figure^=loss-]").first.get_attribute("data-figure")
    page.locator(f"#{key} .plot").focus()
    said = []
    for arrow in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(arrow)
        said.append(page.locator(f"#{key}-point").inner_text())
    assert len(set(said)) == 3
    assert all("loss" in one for one in said)


def test_sizes_axes_and_zoom_can_be_changed(page: Page) -> None:
    key = page.locator(".plot[data-figure^=loss-]").first.get_attribute("data-figure")
    figure = page.locator(f"#{key}")

    def state() -> Any:
        return figure.locator(".plot").evaluate(
            """plot => { const {xaxis} = plot._fullLayout;
                return [plot.querySelectorAll('.trace').length, xaxis.type, xaxis.range.join()]; }"""
        )

    before = state()
    figure.locator("[data-group]").first.uncheck()
    assert state()[0] < before[0]
    figure.locator("[data-group]").first.check()
    figure.locator("[data-log=xaxis]").uncheck()
    assert state()[1] == "linear"
    figure.locator("[data-log=xaxis]").check()
    figure.get_by_role("button", name="Zoom in").click()
    assert state()[2] != before[2]
    figure.get_by_role("button", name="Reset").click()
    assert state() == before


def test_sliders_change_the_plan(page: Page) -> None:
    for name in ("target", "budget", "price"):
        before = page.locator("#plan").inner_text()
        page.locator(f"#plan-{name}-slide").focus()
        for _ in range(20):
            page.keyboard.press("ArrowLeft")
        page.wait_for_function("before => document.getElementById('plan').innerText !== before", arg=before)
    assert page.locator("#plan table").count() == 4


def test_the_keyboard_reaches_everything(page: Page) -> None:
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    expected = page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
            .filter(one => !one.disabled)
            .filter(one => one.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true}))
            .map((one, at) => { one.dataset.at = at; return at; }).length"""
    )
    reached, unseen = set(), []
    for _ in range(expected + 5):
        page.keyboard.press("Tab")
        at, outline = page.evaluate(
            "() => { const one = document.activeElement; return [one.dataset.at, getComputedStyle(one).outlineStyle]; }"
        )
        if at is None:
            continue
        reached.add(int(at))
        if outline == "none":
            unseen.append(at)
    assert reached == set(range(expected))
    assert not unseen, "focus cannot be seen"


def test_the_first_stop_skips_to_the_content(browser: Any, results: Path) -> None:
    fresh = browser.new_page()
    fresh.goto((results / "report.html").as_uri())
    fresh.keyboard.press("Tab")
    assert fresh.evaluate("document.activeElement.className") == "skip"
    fresh.keyboard.press("Enter")
    assert fresh.evaluate("document.activeElement.id") == "main"
    fresh.close()


@pytest.mark.parametrize("where", ["desktop", "phone"])
def test_axe_finds_nothing_serious(page: Page, phone: Page, where: str) -> None:
    one = page if where == "desktop" else phone
    if where == "desktop":
        one.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = Axe().run(one).response
    one.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false; })")
    assert found["passes"], "axe looked at nothing"
    serious = [
        f"{rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:200]} ({len(rule['nodes'])} places)"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
    assert not serious, json.dumps(serious, indent=1)


def test_a_phone_need_not_scroll_sideways(phone: Page) -> None:
    assert phone.evaluate("window.innerWidth") == 390
    phone.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    wide = phone.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(one => !one.closest('.scroll, .plot, .unseen'))
            .filter(one => one.getBoundingClientRect().right > 391).map(one => one.outerHTML.slice(0, 100))"""
    )
    assert wide == []
    phone.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false; })")
    target = phone.locator("#plan-target")
    target.fill("0.5")
    assert "test loss 0.5" in phone.locator("#plan").inner_text() or phone.locator("#plan .refusal").count()


def test_it_prints_with_every_figure(page: Page) -> None:
    page.emulate_media(media="print")
    for shown in ("#law .plot .points path", "#plan table", "#findings .verdict", "figcaption"):
        assert page.locator(shown).first.is_visible(), f"{shown} is not printed"
    assert not page.locator("#plan-form").is_visible()
    page.emulate_media(media="screen")
    printed = page.pdf(format="A4")
    assert printed[:5] == b"%PDF-"
    assert len(printed) > 50_000


def test_no_request_leaves_and_no_error_is_said(shared: Opened) -> None:
    """The last of all: what the tests before it did counts as well."""
    assert all(url.startswith(("file:", "data:", "blob:")) for url in shared.requests), shared.requests
    assert sum(url.startswith("file:") for url in shared.requests) == 1
    assert [one for one in shared.said if one.startswith(("error", "warning"))] == []


def test_the_policy_refuses_any_request(browser: Any, results: Path) -> None:
    fresh = browser.new_page()
    fresh.goto((results / "report.html").as_uri())
    refused = fresh.evaluate("() => fetch('https://example.org/').then(() => 'went out', () => 'refused')")
    assert refused == "refused"
    fresh.close()
