"""What a plan needs of a fit's JSON, checked: the file may be of another version, cut short, or edited by hand.

Fields that no plan reads are not looked at.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlscale.errors import UserError
from rlscale.uncertainty.replicates import read_replicates

_FEWEST = 2  # replicates


def _is_size(text: str) -> str:
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0):
        raise ValueError("a size is a whole number of parameters")
    return text


def _are_numbers(text: str) -> str:
    found = read_replicates(text)
    if found.size < _FEWEST or not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(f"{_FEWEST} or more finite numbers, 0 or more, are allowed")
    return text


def _are_levels(text: str) -> str:
    if np.isinf(read_replicates(text)).any() or np.nanmax(np.abs(np.append(read_replicates(text), 0.0))) > _MOST:
        raise ValueError("levels are numbers, or nan where there is none")
    return text


_MOST = 300.0  # log10 of anything: beyond it lies what a double cannot hold
Size = Annotated[str, AfterValidator(_is_size)]
Numbers = Annotated[str, AfterValidator(_are_numbers)]
Levels = Annotated[str, AfterValidator(_are_levels)]
Log10 = Annotated[float, Field(ge=-_MOST, le=_MOST)]
Positive = Annotated[float, Field(gt=1e-100, lt=1e100)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Range(_Strict):
    first_x: Positive
    last_x: Positive
    flops_per_sample: Positive | None
    samples_per_step: Positive | None


class _Replicates(_Strict):
    k_max: Numbers
    n_0: Numbers
    levels: Annotated[dict[Size, Levels], Field(min_length=1)]
    pivot: dict[Size, Log10]
    level: dict[Size, Log10]
    level_freedom: int

    @model_validator(mode="after")
    def _same_shape(self) -> "_Replicates":
        counts = {len(text.split()) for text in (self.k_max, self.n_0, *self.levels.values())}
        if len(counts) > 1:
            raise ValueError("k_max, n_0 and the levels of each size have as many replicates each")
        if not set(self.levels) == set(self.pivot) == set(self.level):
            raise ValueError("levels, pivot and level have the same sizes")
        return self


class _Intervals(_Strict):
    level: Annotated[float, Field(gt=0, lt=1)]
    draws: int
    seed: int
    notes: list[str] = []
    replicates: _Replicates


class _Saturation(_Strict):
    verdict: str


class _Fit(_Strict):
    x: Literal["compute", "samples"]
    loss: Literal["linear", "log", "huber"]
    weights: Literal["none", "se"]
    variant: str | None
    max_params: Positive | None
    first_steps: Annotated[int, Field(gt=0)] | None
    points: int
    k_max: Annotated[float, Field(ge=0, lt=1e6)]
    n_0: Annotated[float, Field(ge=0)] | None
    notes: list[str] = []
    saturation: _Saturation | None = None
    intervals: _Intervals
    ranges: dict[Size, _Range]

    @model_validator(mode="after")
    def _ranges_of_all(self) -> "_Fit":
        without = sorted(set(self.intervals.replicates.levels) - set(self.ranges))
        if without:
            raise ValueError(f"ranges lack size {without[0]}")
        return self


def check_fit(fit: Mapping[str, Any]) -> None:
    """Check all that a plan reads of a fit.

    Raises:
        UserError: something is missing, of another kind, or not finite.
    """
    try:
        _Fit.model_validate(dict(fit))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise UserError(f"the fit is damaged or of another schema: {said}") from error
