"""What a study asks of its problems: the task, as a Pydantic model and nothing more.

Three kinds. `skills` makes problems from a seed (chains of operators with a Zipf tail, sums with carries, small
equations); `programs` makes chains of small programs on strings; `parquet` reads files in verl's layout.
`rlscale.tasks.load_task` turns any of them into a source of problems.
"""

import re
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

HUB = "hf://"
_ADDRESS = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})/(?P<file>[^#@]+?)(#sha256=(?P<sha256>[0-9a-f]{64}))?"
)


def hub_address(source: str) -> re.Match[str] | None:
    """Return the parts (repo, revision, file, sha256) of the address of a data set's file, None where it is none."""
    return _ADDRESS.fullmatch(source)


Subsets = Literal["first", "nested", "independent"]
Family = Literal["chain", "long", "sum", "equation"]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ProceduralTask(_Spec):
    """Problems made from a seed, out of many small facts that the base model half knows."""

    families: ClassVar[tuple[str, ...]]
    """The families of problems that the task has."""

    seed: int = Field(0, ge=0, description="Moves the operators, their reliabilities, the split and the suites.")
    operators: int = Field(256, ge=2, le=4096, description="Number of operators.")
    operator_shift: float = Field(
        3.0, gt=-1.0, description="Operator i = 1, 2, ... is drawn with weight (i + operator_shift)^-operator_exponent."
    )
    operator_exponent: float = Field(1.5, ge=0.0, description="Exponent of the operators' Zipf tail.")
    chain_length: int = Field(2, ge=1, le=8, description="Operators in a problem of the family `chain`.")
    long_chain_length: int = Field(3, ge=2, le=12, description="Operators in a problem of the harder family `long`.")
    held_out_share: float = Field(0.125, ge=0.01, le=0.5, description="Share of a family's problems never trained on.")
    reliability: Annotated[tuple[float, float], Field(strict=False)] = Field(
        (0.1, 0.9),
        description="Lowest and highest reliability: a fact's is drawn uniformly between them, and is the probability "
        "that the base model's corpus shows its right result instead of its one wrong result.",
    )
    format_noise: float = Field(
        0.1, ge=0.0, lt=1.0, description="Probability that a row of the base corpus wanders on where it should end."
    )
    corpus: dict[Family, Annotated[float, Field(gt=0.0)]] = Field(
        {"chain": 1.0}, description="Share of each family in the base corpus; shares are positive and sum to 1."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.reliability
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"reliability must satisfy 0 <= low <= high <= 1, got ({low}, {high})")
        if self.long_chain_length <= self.chain_length:
            raise ValueError(f"long_chain_length must exceed chain_length ({self.chain_length})")
        if abs(sum(self.corpus.values()) - 1.0) > 1e-9:
            raise ValueError(f"corpus shares must sum to 1, got {self.corpus}")
        if absent := [name for name in self.corpus if name not in self.families]:
            raise ValueError(f"corpus names the family {absent[0]}; the task has {', '.join(self.families)}")
        return self

    @property
    def suites(self) -> dict[str, str]:
        """The family of each evaluation suite: `heldout` is the chains', the others have their family's name."""
        return {"heldout" if family == "chain" else family: family for family in self.families}


class SkillsTask(ProceduralTask):
    """Facts about digits: each operator is a permutation of the ten digits."""

    families = get_args(Family)

    kind: Literal["skills"] = Field(description="Problems made from a seed: chains of operators on a digit.")


class ProgramsTask(ProceduralTask):
    """Facts about short strings: each operator is a small program that an interpreter with a step limit runs."""

    families = ("chain", "long")

    kind: Literal["programs"] = Field(description="Problems made from a seed: chains of small programs on a string.")
    operators: int = Field(64, ge=2, le=1024, description="Number of operators; each is a routine, a program.")
    letters: int = Field(4, ge=2, le=10, description="Letters of the alphabet, written as digits.")
    string_length: int = Field(3, ge=2, le=4, description="Letters of a string.")
    lines: int = Field(3, ge=1, le=8, description="Lines of a program; one of them differs in its wrong twin.")
    step_limit: int = Field(
        12, ge=1, le=1000, description="Actions after which the interpreter halts, with the string as it then stands."
    )
    fact_letters: int = Field(
        2,
        ge=0,
        le=4,
        description="Letters of its input that, with the operator, make a fact: a reliability for each operator (0), "
        "for each operator and first letter (1), ... up to each operator and string (string_length).",
    )

    @model_validator(mode="after")
    def _letters_exist(self) -> Self:
        if self.fact_letters > self.string_length:
            raise ValueError(f"fact_letters must not exceed string_length ({self.string_length})")
        return self


class ParquetTask(_Spec):
    """Problems read from verl-style parquet files."""

    families: ClassVar[tuple[str, ...]] = ()

    kind: Literal["parquet"] = Field(description="Problems read from parquet files in verl's layout.")
    train: list[str] = Field(
        min_length=1,
        description="Training files, read in this order: paths, or hf://datasets/OWNER/NAME@COMMIT/PATH#sha256=DIGEST.",
    )
    suites: dict[str, str] = Field(min_length=1, description="File of each evaluation suite, by name; as in train.")
    pass_rate: str | None = Field(None, description="Key of extra_info that holds a problem's pass rate.")
    curriculum: bool = Field(
        False, description="Train from the highest pass rate to the lowest, in every epoch; needs pass_rate."
    )
    subsets: Subsets = Field(
        "first",
        description="What tau > 1 keeps: the first problems, a sample nested in smaller tau's, or one of its own.",
    )

    def local_files(self) -> list[str]:
        """Return the paths among the files, in a fixed order; what is on the hub is named by its commit."""
        return sorted({path for path in (*self.train, *self.suites.values()) if not path.startswith(HUB)})

    @model_validator(mode="after")
    def _curriculum_has_rates(self) -> Self:
        if self.curriculum and self.pass_rate is None:
            raise ValueError("curriculum needs pass_rate, by which problems are sorted")
        return self

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for source in (*self.train, *self.suites.values()):
            if source.startswith(HUB) and hub_address(source) is None:
                raise ValueError(
                    f"{source} is no address of a data set's file: hf://datasets/OWNER/NAME@COMMIT/PATH, with all 40 "
                    "digits of the commit, and #sha256=DIGEST after it if the bytes are to be checked"
                )
        return self


TaskSpec = Annotated[SkillsTask | ProgramsTask | ParquetTask, Field(discriminator="kind")]
