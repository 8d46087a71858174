"""What every model of the configuration shares: strict, frozen, and errors that know their place.

YAML gives lists, so `Many` and `Distinct` take a list and keep a tuple; everything else is taken as it is written: a
boolean is no number, a quoted number is a string, an unknown key is an error. A check over several keys calls `refuse`
with the key of each problem, so that the loader can point at a line.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Place = tuple[str | int, ...]
T = TypeVar("T")

NAME = r"^[A-Za-z][A-Za-z0-9.-]*$"
"""Names that become parts of file names, where `_` parts the factors."""

FULL_SUPERVISION = "full"
"""The supervision of a base model that got every step of its ladder's supervised stage."""


class Model(BaseModel):
    """A frozen model without unknown keys, silent conversions, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Problem(NamedTuple):
    """One thing wrong with a configuration: the keys that lead to it, and a sentence without a full stop."""

    at: Place
    message: str


def refuse(problems: Sequence[Problem]) -> None:
    """Raise one Pydantic error that carries every problem; return where there is none.

    Raises:
        PydanticCustomError: of type ``problems``, with the problems in its context.
    """
    if problems:
        text = "; ".join(f"{dotted(problem.at)}: {problem.message}" for problem in problems)
        raise PydanticCustomError("problems", "{text}", {"text": text, "problems": list(problems)})


def dotted(place: Place) -> str:
    """Return ``grid.law.tau[1]`` for ``("grid", "law", "tau", 1)``."""
    text = ""
    for key in place:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        refuse([Problem((), "is empty; at least one value is needed")])
    for index, value in enumerate(values):
        if value in values[:index]:
            refuse([Problem((index,), f"{value!r} is there twice")])
    return values


Many = Annotated[tuple[T, ...], Field(strict=False)]
Distinct = Annotated[
    tuple[T, ...],
    Field(strict=False, json_schema_extra={"uniqueItems": True, "minItems": 1}),
    AfterValidator(_distinct),
]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Betas = Annotated[
    tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]], Field(strict=False)
]
