"""From tests of claims to findings: a verdict each, with all tests of the study accounted for.

A claim is supported or contradicted where its p-value, adjusted for all tested claims of the study (Holm, Scandinavian
Journal of Statistics 6, 1979), is below 5 %. "About the same" is supported by two one-sided tests within a margin
declared here, never by a large p-value. Without an error that holds the variation between runs there is no p-value, and
no verdict but inconclusive.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rlscale.findings.estimates import Estimate
from rlscale.uncertainty import LEVEL

ALPHA = 0.05
"""Largest chance that any claim of a study gets a wrong "supported" or "contradicted"."""

Verdict = Literal["supported", "contradicted", "inconclusive", "not tested"]


@dataclass(frozen=True)
class Claim:
    """A sentence that a study may bear out, and the statement of the literature that it stands for."""

    id: str
    claim: str
    source: str


@dataclass(frozen=True)
class Effect:
    """The size of an effect with its interval; an end is None where the data give none."""

    name: str
    unit: str
    estimate: float
    low: float | None
    high: float | None
    level: float = LEVEL


@dataclass(frozen=True)
class Finding:
    """A claim with its verdict; the fields are the JSON's keys.

    Attributes:
        id: name of the claim.
        claim: the claim, a sentence.
        source: the statement of the literature that it stands for.
        verdict: supported, contradicted, inconclusive or not tested.
        effect: what the claim is judged by, None where it is not tested.
        p: p-value towards the side of the verdict: against no effect (two-sided), or of the equivalence test.
        p_holm: the same, adjusted for all tested claims of the study.
        evidence: one sentence with the numbers; why, where the claim is not tested.
        would_decide: what would decide an inconclusive claim.
        runs: the runs (or sizes) that the effect was read off.
    """

    id: str
    claim: str
    source: str
    verdict: Verdict
    effect: Effect | None
    p: float | None
    p_holm: float | None
    evidence: str
    would_decide: str | None
    runs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return {**asdict(self), "runs": list(self.runs)}


@dataclass(frozen=True)
class Outcome:
    """What testing one claim gave, before the other claims are accounted for.

    Attributes:
        claim: the claim.
        evidence: as of a finding.
        effect: as of a finding.
        estimate: behind the effect, None where the claim is not tested.
        p_for: p-value in favour of the claim.
        p_against: p-value in favour of its opposite.
        distance: from the effect to the nearest boundary between verdicts, in units of the estimate.
        runs: as of a finding.
        verdict: a verdict reached elsewhere, which stands as it is.
        would_decide: what would decide it, where more repetitions would not.
    """

    claim: Claim
    evidence: str
    effect: Effect | None = None
    estimate: Estimate | None = None
    p_for: float = 1.0
    p_against: float = 1.0
    distance: float = 0.0
    runs: tuple[str, ...] = ()
    verdict: Verdict | None = None
    would_decide: str | None = None

    @property
    def p(self) -> float | None:
        """The smaller p-value, None where nothing was tested."""
        tested = self.estimate is not None and self.estimate.between_runs
        return min(self.p_for, self.p_against) if tested else None


def size_name(params: int) -> str:
    """Return a model size in words, for example 32B or 83k."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if params >= unit:
            return f"{params / unit:.3g}{letter}"
    return str(params)


def span(effect: Effect) -> str:
    """Return the interval of an effect in words."""
    if effect.low is None or effect.high is None:
        return "(no interval)"
    return f"({effect.level:.0%} interval {effect.low:.3g} to {effect.high:.3g})"


def untested(claim: Claim, why: str) -> Outcome:
    """Return the outcome of a claim that the study has no data for."""
    return Outcome(claim, why, verdict="not tested")


def directional(
    claim: Claim, estimate: Estimate, effect: Effect, *, sign: int, evidence: str, runs: Sequence[str]
) -> Outcome:
    """Test that an effect has a sign, against no effect, two-sided."""
    p = min(1.0, 2 * min(estimate.below(0.0), estimate.above(0.0))) if estimate.freedom else 1.0
    agrees = sign * estimate.value > 0
    return Outcome(
        claim,
        f"{evidence}; {estimate.note}.",
        effect,
        estimate,
        p_for=p if agrees else 1.0,
        p_against=1.0 if agrees else p,
        distance=abs(estimate.value),
        runs=tuple(runs),
    )


def equivalent(
    claim: Claim, estimate: Estimate, effect: Effect, *, margin: float, evidence: str, runs: Sequence[str]
) -> Outcome:
    """Test that an effect is nil within a margin (two one-sided tests), or that it is not."""
    tested = estimate.freedom > 0
    return Outcome(
        claim,
        f"{evidence}; {estimate.note}.",
        effect,
        estimate,
        p_for=estimate.within(margin) if tested else 1.0,
        p_against=estimate.beyond(margin) if tested else 1.0,
        distance=abs(margin - abs(estimate.value)),
        runs=tuple(runs),
    )


def settle(outcomes: Sequence[Outcome]) -> list[Finding]:
    """Return the findings of a study, with verdicts at the level of all its tests together."""
    tested = [p for outcome in outcomes if (p := outcome.p) is not None]
    adjusted = iter(holm(tested))
    return [
        _finding(outcome, None if outcome.p is None else next(adjusted), tests=max(1, len(tested)))
        for outcome in outcomes
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's step-down method, in the order given."""
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _finding(outcome: Outcome, p_holm: float | None, *, tests: int) -> Finding:
    verdict: Verdict = outcome.verdict or "inconclusive"
    if p_holm is not None and p_holm < ALPHA:
        verdict = "supported" if outcome.p_for < outcome.p_against else "contradicted"
    decides = None
    if verdict == "inconclusive":
        decides = outcome.would_decide or _would_decide(outcome, tests)
    claim = outcome.claim
    return Finding(
        id=claim.id,
        claim=claim.claim,
        source=claim.source,
        verdict=verdict,
        effect=outcome.effect,
        p=outcome.p,
        p_holm=p_holm,
        evidence=outcome.evidence,
        would_decide=decides,
        runs=tuple(sorted(set(outcome.runs))),
    )


def _would_decide(outcome: Outcome, tests: int) -> str | None:
    estimate = outcome.estimate
    if estimate is None:
        return None
    if not estimate.between_runs:
        return "A second run of each arm, from another base model or seed: one run says nothing of the next."
    number = estimate.needed(outcome.distance, ALPHA / tests)
    if number is None:
        return f"No affordable number of {estimate.unit}: the effect lies too near the boundary between the verdicts."
    return f"About {number} {estimate.unit} instead of {estimate.units}, if the effect is as large as it looks now."
