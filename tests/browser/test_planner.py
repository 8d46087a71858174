"""The page's planner says what `rlscale plan` says: the command that it shows, run, prints the same words."""

import random
import shlex
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from rich.console import Console

from rlscale import cli
from tests.browser.conftest import open_page

REQUESTS = 36
RULES = "─━═╌╍"
BARS = "│┃║"


def test_the_page_plans_as_the_command_line_does(
    browser: Browser, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_page(browser.new_context(), results).page
    monkeypatch.chdir(results.parents[1])
    wide = Console(width=3000, markup=False, highlight=False)
    monkeypatch.setattr("rlscale.cli_plan_tables.new_console", lambda: wide)  # no line is broken
    drawn = random.Random(8)
    options = page.eval_on_selector_all("#plan-fit option", "all => all.map(one => one.value)")
    has_reuse = page.locator("#plan-unique").is_visible()
    kinds = set()
    for _ in range(REQUESTS):
        fields = _drawn(page, drawn, options, has_reuse)
        command, shown = _asked(page, fields)
        assert command[:2] == ["rlscale", "plan"]
        with pytest.raises(SystemExit) as end:
            cli.main(command[1:])
        said = capsys.readouterr()
        printed = said.err.removeprefix("error: ") if end.value.code else said.out
        rows = [" ".join(row.split()) for row, is_head in shown if not is_head]
        heads = [word for row, is_head in shown if is_head for word in row.split()]
        lines = [" ".join(words) for line in printed.splitlines() if (words := _words(line))]
        assert [line for line in lines if line in rows] == rows, shlex.join(command)
        # A table's title and head may stand in several lines.
        assert sorted(word for line in lines if line not in rows for word in line.split()) == sorted(heads)
        kinds |= {"refused"} if end.value.code else {row.split()[0] for row in rows}
    assert {"refused", "least:", "best:", "caution:"} <= kinds, "the requests asked too little"


def _drawn(page: Page, drawn: random.Random, options: list[str], has_reuse: bool) -> dict[str, Any]:
    """Return values for the fields of the form, in and somewhat out of the sliders' range."""

    def near(name: str) -> str:
        low, high = page.evaluate(
            """name => {
                const [slide, box] = [`plan-${name}-slide`, `plan-${name}`].map(id => document.getElementById(id));
                return [0, 1000].map(at => {
                    slide.value = at;
                    slide.dispatchEvent(new Event('input'));
                    return Number(box.value);
                });
            }""",
            name,
        )
        at = drawn.uniform(-0.1, 1.1)
        value = low * (high / low) ** at
        return f"{value:.{drawn.choice([2, 3, 6, 12])}g}"

    fit = drawn.choice(options)
    page.select_option("#plan-fit", fit)
    gpu = drawn.choice(["H100", "A100", "other", "", "L40S"])
    wants_target = drawn.random() < 0.7
    wants_budget = drawn.random() < 0.7 or not wants_target
    unit = drawn.choice(["flops", "gpuh", "usd"])
    budget = near("budget")
    scale = {"flops": 1.0, "gpuh": 2.0 / (989e12 * 0.3 * 3600), "usd": 2.5 * 2.0 / (989e12 * 0.3 * 3600)}[unit]
    return {
        "target-on": wants_target,
        "target": near("target"),
        "budget-on": wants_budget,
        "budget": f"{float(budget) * scale:.6g}",
        "unit": unit,
        "unique-on": has_reuse and drawn.random() < 0.5,
        "unique": near("unique") if has_reuse else None,
        "tokens": drawn.choice(["0", "0", "1000000", "12345678.5"]),
        "gpu": gpu,
        "peak": drawn.choice(["1e15", "123456789"]) if gpu == "other" else None,
        "mfu": drawn.choice(["0.3", "0.125", "0.41"]),
        "gpus": drawn.choice(["1", "8", "64"]),
        "overhead": drawn.choice(["2", "1", "3.25"]),
        "price-on": drawn.random() < 0.6,
        "price": drawn.choice(["2.5", "0.125", "11"]),
    }


def _asked(page: Page, fields: dict[str, Any]) -> tuple[list[str], list[tuple[str, bool]]]:
    """Fill the form; return the command that the page shows, and its answer by row, with what is title or head."""
    page.evaluate(
        """fields => {
            for (const [name, value] of Object.entries(fields)) {
                const one = document.getElementById(`plan-${name}`);
                if (value === null) continue;
                if (typeof value === 'boolean') one.checked = value; else one.value = value;
            }
            document.getElementById('plan-form').dispatchEvent(new Event('input'));
            return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        }""",
        fields,
    )
    shown = page.evaluate(
        """() => [...document.querySelectorAll('#plan > *')].flatMap(one => one.tagName === 'P'
            ? [[one.textContent, false]]
            : [[one.querySelector('caption').textContent, true], ...[...one.querySelectorAll('tr')]
                .map(row => [[...row.children].map(cell => cell.textContent).join(' '), !!row.closest('thead')])])"""
    )
    return shlex.split(page.locator("#plan-command").inner_text()), [(text, is_head) for text, is_head in shown]


def _words(text: str) -> list[str]:
    """Return the words of a text, without what tables are drawn with."""
    for sign in RULES + BARS + "┏┓┗┛┡┩├┤┼╇┳┻└┘┴┬╞╡╪┌┐":
        text = text.replace(sign, " ")
    return text.split()
