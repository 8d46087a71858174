"""What a set of training and test files says about a study before anything is trained: leaks, difficulty, reuse.

Each check answers a question that changes how a curve must be read: are test problems trained on, are training and test
of one difficulty, is less data a subset of more, are more data also harder data, and does every arm of data reuse
consume as many samples?
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from rlscale.tasks.difficulty import pass_rates

RATE_KEY = "qwen2.5_7b_pass_rate"
"""Column of GURU's extra_info: share of a 7B model's answers that were right."""

EASY_FROM = 0.3
"""Least pass rate of an easy problem; a problem without one counts as hard."""

NEAR = 0.8
"""Jaccard similarity of two problems' word five-grams from which they are near-duplicates."""

MIX_MARGIN = 0.05
"""Difference in the share of easy problems from which two sets are of different difficulty."""

ORDER_MARGIN = 0.2
"""Rank correlation of difficulty and position from which an order is a curriculum."""

_SHINGLE = 5
_SHOWN = 5  # rows that a sentence names
_BOILERPLATE = 0.2  # five-grams in more than this share of all prompts are instructions, not the problem


@dataclass(frozen=True)
class Observation:
    """What one check found.

    Attributes:
        check: overlap, near_duplicates, difficulty, nesting, curriculum or reuse.
        verdict: "ok", or "warning" where curves must be read with it in mind.
        said: one sentence with the numbers.
        facts: the numbers.
    """

    check: str
    verdict: Literal["ok", "warning"]
    said: str
    facts: dict[str, Any]


def lint_protocol(
    train: Mapping[str, pd.DataFrame],
    suites: Mapping[str, pd.DataFrame],
    *,
    samples: int | None = None,
    pass_rate: str = RATE_KEY,
    easy_from: float = EASY_FROM,
) -> list[Observation]:
    """Return what all checks found.

    Args:
        train: training sets by name, each in the order of training (columns prompt and extra, from `read_problems`).
        suites: test sets by name.
        samples: samples that every training set is to serve for, repeats counted; without, reuse is not checked.
        pass_rate: key of extra_info that holds the pass rate.
        easy_from: least pass rate of an easy problem.
    """
    rates = {name: pass_rates(table, pass_rate) for name, table in [*train.items(), *suites.items()]}
    return [
        *_overlaps(train, suites),
        *_near_duplicates(train, suites),
        *_difficulty({name: rates[name] for name in train}, {name: rates[name] for name in suites}, easy_from),
        *_nesting(train),
        *_curricula({name: rates[name] for name in train}),
        *_reuse(train, samples),
    ]


def _overlaps(train: Mapping[str, pd.DataFrame], suites: Mapping[str, pd.DataFrame]) -> Iterator[Observation]:
    trained = {" ".join(_words(prompt)) for table in train.values() for prompt in table["prompt"]}
    for name, table in suites.items():
        rows = [row for row, prompt in enumerate(table["prompt"]) if " ".join(_words(prompt)) in trained]
        said = f"{len(rows)} of {len(table)} problems of {name} are training problems word for word{_named(rows)}"
        yield Observation("overlap", _ok(not rows), said, {"suite": name, "rows": rows, "problems": len(table)})


def _near_duplicates(train: Mapping[str, pd.DataFrame], suites: Mapping[str, pd.DataFrame]) -> Iterator[Observation]:
    trained = list(dict.fromkeys(prompt for table in train.values() for prompt in table["prompt"]))
    asked = {name: [_shingles(prompt) for prompt in table["prompt"]] for name, table in suites.items()}
    sources = [_shingles(prompt) for prompt in trained]
    common = _boilerplate([*sources, *(one for problems in asked.values() for one in problems)])
    holders: dict[str, list[int]] = defaultdict(list)
    sizes = []
    for index, source in enumerate(sources):
        own = source - common
        sizes.append(len(own))
        for shingle in own:
            holders[shingle].append(index)
    for name, problems in asked.items():
        rows = [row for row, asks in enumerate(problems) if _nearest(asks - common, holders, sizes) >= NEAR]
        said = f"{len(rows)} of {len(problems)} problems of {name} share most of their words with training problems"
        facts = {"suite": name, "rows": rows, "problems": len(problems), "jaccard_from": NEAR}
        yield Observation("near_duplicates", _ok(not rows), f"{said}{_named(rows)}", facts)


def _difficulty(
    train: Mapping[str, "pd.Series[float]"], suites: Mapping[str, "pd.Series[float]"], easy_from: float
) -> Iterator[Observation]:
    """Compare the share of easy problems of each suite with that of the training sets together."""
    known = {name: rates for name, rates in suites.items() if rates.notna().any()}
    trained = pd.concat(train.values()) if train else pd.Series(dtype=float)
    if not known or not trained.notna().any():
        return
    shares = {name: float((rates >= easy_from).mean()) for name, rates in train.items()}
    overall = float((trained >= easy_from).mean())
    each = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    for name, rates in known.items():
        share = float((rates >= easy_from).mean())
        said = f"{share:.1%} of {name} are easy (pass rate from {easy_from:g}), {overall:.1%} of training ({each})"
        facts = {"suite": name, "easy": share, "train_easy": overall, "train": shares, "easy_from": easy_from}
        yield Observation("difficulty", _ok(abs(share - overall) <= MIX_MARGIN), said, facts)


def _nesting(train: Mapping[str, pd.DataFrame]) -> Iterator[Observation]:
    """Say for each training set whether the next larger one holds all of it."""
    sets = {name: set(table["prompt"]) for name, table in train.items()}
    for small, large in pairwise(sorted(sets, key=lambda name: (len(sets[name]), name))):
        inside = len(sets[small] & sets[large])
        share = f"{inside} of {len(sets[small])}"
        how = "nested in" if inside == len(sets[small]) else "not nested in"
        said = f"{small} is {how} {large}: {share} problems are there"
        facts = {"small": small, "large": large, "shared": inside, "problems": len(sets[small])}
        yield Observation("nesting", _ok(inside == len(sets[small])), said, facts)


def _curricula(train: Mapping[str, "pd.Series[float]"]) -> Iterator[Observation]:
    """Say for each training set whether its order is one of difficulty: then more data are also harder data."""
    for name, rates in train.items():
        if rates.nunique(dropna=False) < 2 or not rates.notna().any():
            continue
        place = np.arange(len(rates))
        correlation = float(spearmanr(place, rates.fillna(0.0)).statistic)
        halves = [float(half.fillna(0.0).mean()) for half in (rates[: len(rates) // 2], rates[len(rates) // 2 :])]
        ordered = abs(correlation) > ORDER_MARGIN
        how = "the amount of data and its difficulty rise together" if ordered else "in no order of difficulty"
        said = (
            f"{name}: {how} (rank correlation of position and pass rate {correlation:+.2f}; mean pass rate "
            f"{halves[0]:.2f} in the first half, {halves[1]:.2f} in the second)"
        )
        facts = {"set": name, "rank_correlation": correlation, "mean_pass_rate_of_halves": halves}
        yield Observation("curriculum", _ok(not ordered), said, facts)


def _reuse(train: Mapping[str, pd.DataFrame], samples: int | None) -> Iterator[Observation]:
    if samples is None:
        return
    for name, table in train.items():
        tau, rest = divmod(samples, len(table))
        said = f"{name}: {len(table)} problems {tau} times are {tau * len(table):,} of {samples:,} samples"
        facts = {"set": name, "problems": len(table), "tau": tau, "samples": samples}
        yield Observation("reuse", _ok(not rest), said, facts)


def _words(prompt: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", prompt.lower())


def _shingles(prompt: str) -> set[str]:
    words = _words(prompt)
    return {" ".join(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1)}


def _boilerplate(problems: list[set[str]]) -> set[str]:
    counts = Counter(shingle for problem in problems for shingle in problem)
    return {shingle for shingle, count in counts.items() if count > _BOILERPLATE * len(problems)}


def _nearest(problem: set[str], holders: Mapping[str, list[int]], sizes: list[int]) -> float:
    """Return the largest Jaccard similarity with a training problem."""
    shared = Counter(index for shingle in problem for index in holders.get(shingle, ()))
    return max((count / (len(problem) + sizes[index] - count) for index, count in shared.items()), default=0.0)


def _named(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
    return f" (rows {shown})" if rows else ""


def _ok(fine: bool) -> Literal["ok", "warning"]:
    return "ok" if fine else "warning"
