"""Software that a cluster provides for training and evaluation: modules, or a container. Each is optional.

It comes from Snakemake's configuration, since it says where jobs run and not what a study is.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from rlscale.config_errors import problems_of
from rlscale.errors import UserError
from rlscale.model_base import Many, Model, dotted


class StageSoftware(Model):
    """What the jobs of one stage find."""

    modules: Many[str] = Field((), description="Environment modules, in the order in which they are loaded.")
    container: str | None = Field(None, min_length=1, description="Image: docker://..., or the path of a .sif.")


class Software(Model):
    """What jobs find, by stage."""

    train: StageSoftware = Field(StageSoftware(), description="Training.")
    evaluate: StageSoftware = Field(StageSoftware(), description="Evaluation.")


def read_software(config: Mapping[str, Any]) -> Software:
    """Return the key `software` of Snakemake's configuration.

    Raises:
        UserError: it does not say what software is.
    """
    values = config.get("software", {})
    try:
        return Software.model_validate(values)
    except ValidationError as error:
        said = (f"software.{dotted(problem.at)}: {problem.message}" for problem in problems_of(error, values, Software))
        raise UserError("\n".join(said)) from None
