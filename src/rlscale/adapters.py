"""The trainers that a study may name: one line each, which is all that registering one takes.

A line says where the class is (its code is loaded only by the job that uses it) and the version of what it makes. This
module is no part of what a stage's results depend on, so that a further trainer taints no run of another.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticKnownError


@dataclass(frozen=True)
class Adapter:
    """A trainer.

    Attributes:
        entry: its class, as ``module:Class``; the module is ``rlscale.trainers.NAME``, or one of that package.
        version: raised when it comes to make other weights from the same values.
    """

    entry: str
    version: int


TRAINERS = {
    "local": Adapter("rlscale.trainers.local.trainer:LocalTrainer", version=2),
    "openrlhf": Adapter("rlscale.trainers.openrlhf.trainer:OpenRlhfTrainer", version=1),
}
"""By the name that a study gives."""


def _known(name: str) -> str:
    if name not in TRAINERS:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(f"'{known}'" for known in TRAINERS)})
    return name


TrainerName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*TRAINERS]})]
"""The name of a trainer, in a study."""
