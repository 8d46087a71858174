"""Problems read from parquet files in verl's layout, one problem a row.

The files come from elsewhere: they are read as plain columns and nothing in them is ever evaluated. Training files
often share problems with the suites they are tested on, so whatever a suite asks is dropped from training.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rlscale.canonical import digest
from rlscale.errors import UserError, did_you_mean
from rlscale.task_spec import ParquetTask
from rlscale.tasks.difficulty import easy_to_hard
from rlscale.tasks.problem_id import problem_ids
from rlscale.tasks.sources import local_file

REQUIRED_COLUMNS = ("prompt", "reward_model", "data_source")
OPTIONAL_COLUMNS = ("extra_info",)


class ParquetProblems:
    """The problems of one `ParquetTask`; tables as `read_problems` returns them.

    `dropped` holds the training rows left out, with a column `reason`: a suite asks the same, or an earlier row did
    (prompts compared without regard to white space).
    """

    def __init__(self, spec: ParquetTask) -> None:
        self.spec = spec
        self._suites = {name: read_problems(local_file(path)) for name, path in spec.suites.items()}
        table = pd.concat([read_problems(local_file(path)) for path in spec.train], ignore_index=True)
        reasons = pd.Series(self._reasons_to_drop(table), index=table.index, dtype="str")
        self.dropped = table.assign(reason=reasons)[reasons != ""].reset_index(drop=True)
        kept = table[reasons == ""].reset_index(drop=True)
        self._train = easy_to_hard(kept, spec.pass_rate) if spec.curriculum and spec.pass_rate else kept

    def train(self, families: Sequence[str], skill_share: float, seed: int, n: int) -> pd.DataFrame:
        """Return the first `n` training problems, in the order of the files, or of the curriculum.

        `families` and `seed` belong to procedural tasks and change nothing here.

        Raises:
            UserError: `skill_share` is not 1, or the files have fewer than `n` problems.
        """
        del families, seed
        if skill_share != 1.0:
            raise UserError(
                f"skill_share must be 1 for a parquet task, which has no skills to share, got {skill_share}"
            )
        if not 1 <= n <= len(self._train):
            raise UserError(
                f"{n} training problems are asked for, but {', '.join(self.spec.train)} hold {len(self._train)} "
                f"({len(self.dropped)} more were dropped as repeats or as part of a suite)"
            )
        return self._train.head(n).copy()

    def suite(self, name: str, n: int, seed: int) -> pd.DataFrame:
        """Return `n` problems of a suite in an order drawn from `seed`, or all of them where it has fewer.

        Raises:
            UserError: there is no such suite.
        """
        if name not in self._suites:
            allowed = ", ".join(self._suites)
            raise UserError(f"unknown suite {name!r}: allowed are {allowed}{did_you_mean(name, self._suites)}")
        table = self._suites[name]
        rng = np.random.Generator(np.random.PCG64(int(digest(["suite", name, seed]), 16)))
        order = np.argsort(rng.random(len(table)))[:n]
        return table.iloc[order].reset_index(drop=True)

    def _reasons_to_drop(self, table: pd.DataFrame) -> list[str]:
        reason_of = {
            _bare(prompt): f"part of the suite {name}"
            for name, suite in self._suites.items()
            for prompt in suite["prompt"]
        }
        reasons = []
        for prompt in map(_bare, table["prompt"]):
            reasons.append(reason_of.get(prompt, ""))
            reason_of.setdefault(prompt, "repeats an earlier row")
        return reasons


def read_problems(path: Path) -> pd.DataFrame:
    """Read one file, in its order.

    Returns:
        Columns `problem` (id), `family` (the data source), `prompt` (the contents of the chat messages, joined by blank
        lines), `answer` (the ground truth) and `extra` (JSON text: `messages` as they were, and `extra_info`).

    Raises:
        UserError: no such file, not a parquet file, a column is missing, or a row has no prompt or no ground truth.
    """
    rows = [_problem(path, number, row) for number, row in enumerate(_read_rows(path))]
    if not rows:
        raise UserError(f"{path} has no rows")
    table = pd.DataFrame(rows, columns=["family", "prompt", "answer", "extra"], dtype="str")
    table.insert(0, "problem", problem_ids(table))
    return table


def _read_rows(path: Path) -> list[dict[str, object]]:
    if not path.is_file():
        raise UserError(f"{path}: no such parquet file")
    try:
        # Opened as one file: a folder called key=value on the way to it is no partition of a data set.
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            missing = [name for name in REQUIRED_COLUMNS if name not in present]
            if missing:
                raise UserError(f"{path} has no column {', '.join(missing)}; it has {', '.join(present)}")
            optional = [name for name in OPTIONAL_COLUMNS if name in present]
            rows: list[dict[str, object]] = file.read(columns=[*REQUIRED_COLUMNS, *optional]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as a parquet file: {str(error).splitlines()[0]}") from error
    return rows


def _problem(path: Path, number: int, row: Mapping[str, object]) -> tuple[str, str, str, str]:
    messages = _messages(path, number, row["prompt"])
    reward_model = row["reward_model"]
    truth = reward_model.get("ground_truth") if isinstance(reward_model, Mapping) else None
    if not isinstance(truth, str | int | float) or isinstance(truth, bool) or not str(truth).strip():
        raise UserError(f"{path}, row {number}: reward_model.ground_truth must be a text or a number, got {truth!r}")
    family = row["data_source"]
    if not isinstance(family, str) or not family:
        raise UserError(f"{path}, row {number}: data_source must be a text, got {family!r}")
    prompt = "\n\n".join(message["content"] for message in messages)
    return family, prompt, str(truth), _json({"messages": messages, "extra_info": row.get("extra_info")})


def _messages(path: Path, number: int, prompt: object) -> list[dict[str, str]]:
    """Check that a prompt is a list of chat messages with some text."""
    messages = prompt if isinstance(prompt, list) else []
    plain = [
        {"role": message["role"], "content": message["content"]}
        for message in messages
        if isinstance(message, Mapping)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
    ]
    if len(plain) != len(messages) or not any(message["content"].strip() for message in plain):
        shown = repr(prompt)[:80]
        raise UserError(f"{path}, row {number}: prompt must be a list of messages with role and content, got {shown}")
    return plain


def _json(value: object) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


def _plain(value: object) -> object:
    """Return `value` as JSON can hold it: NaN becomes null; dates, bytes and the like become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _bare(prompt: str) -> str:
    return " ".join(prompt.split())
