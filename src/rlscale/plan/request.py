"""What a plan is asked, checked: every bad value is refused with one sentence."""

import re
from dataclasses import dataclass
from math import isfinite

from rlscale.errors import UserError, did_you_mean

UNITS = ("flops", "gpuh", "usd")


@dataclass(frozen=True)
class Request:
    """The questions.

    Attributes:
        target: test loss to reach; None where it is not asked.
        budget: amount and unit (of `UNITS`) to spend; None where it is not asked.
        unique_problems: U; None where problems are unlimited.
        from_size: size, in parameters, that already learns; None where it is not asked.
        at_compute: FLOPs that it has had; None for the last fitted point.
        inference_tokens: tokens that the trained model is to serve.
    """

    target: float | None = None
    budget: tuple[float, str] | None = None
    unique_problems: float | None = None
    from_size: float | None = None
    at_compute: float | None = None
    inference_tokens: float = 0.0

    def check(self) -> None:
        """Check every value.

        Raises:
            UserError: a value is not allowed, or nothing is asked.
        """
        if self.target is None and self.budget is None and self.from_size is None:
            raise UserError("nothing to plan for: give --target-loss, --budget or --from-size")
        if self.target is not None and not 0 < self.target < 1:
            raise UserError(f"--target-loss is {self.target!r}; allowed: a test loss above 0 and below 1")
        positive = {
            "--unique-problems": self.unique_problems,
            "--from-size": self.from_size,
            "--at-compute": self.at_compute,
            "--budget": None if self.budget is None else self.budget[0],
        }
        for name, value in positive.items():
            if value is not None and not (isfinite(value) and value > 0):
                raise UserError(f"{name} is {value!r}; allowed: a positive number")
        if not (isfinite(self.inference_tokens) and self.inference_tokens >= 0):
            raise UserError(f"--inference-tokens is {self.inference_tokens!r}; allowed: 0 or more")
        if self.at_compute is not None and self.from_size is None:
            raise UserError("--at-compute says how far --from-size has learned: give that too")


def read_budget(text: str) -> tuple[float, str]:
    """Return amount and unit of a budget such as 1e21, 1e21flops, 500gpuh or 2000usd.

    Raises:
        UserError: it is something else.
    """
    found = re.fullmatch(r"\s*([-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|nan|inf))\s*([a-z]*)\s*", text.lower())
    allowed = "a number of FLOPs, or with a unit: 1e21, 1e21flops, 500gpuh, 2000usd"
    if not found:
        raise UserError(f"--budget {text}: is not a budget; allowed: {allowed}")
    unit = found[2] or "flops"
    if unit not in UNITS:
        raise UserError(f"--budget {text}: no such unit {unit!r}; allowed: {allowed}{did_you_mean(unit, UNITS)}")
    try:
        amount = float(found[1])
    except ValueError as error:
        raise UserError(f"--budget {text}: is not a budget; allowed: {allowed}") from error
    if not (isfinite(amount) and amount > 0):
        raise UserError(f"--budget {text}: allowed: a positive amount")
    return amount, unit
