"""The evaluator that asks vLLM: all suites in one engine, in a process of its own for each checkpoint.

An engine never gives all of its memory back, so it ends with its process. Each problem has its own seed, the same for
every checkpoint: differences between checkpoints are the weights' doing, and no answer depends on its neighbours.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from rlscale.canonical import canonical_json, derived_seed
from rlscale.errors import UserError
from rlscale.evaluators import EvaluationSettings
from rlscale.models.prompts import prompt_texts, token_counts
from rlscale.placement import Placement

LAST_LINES = 20


class VllmEvaluator:
    """Sampled and greedy answers by vLLM on the GPUs of one engine; see :class:`rlscale.evaluators.Evaluator`."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement

    def evaluate(self, checkpoint: Path, problems: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
        """Return the rollouts of all suites.

        Raises:
            UserError: exact probabilities are asked for, which vLLM does not give.
            RuntimeError: vLLM failed.
        """
        if settings.exact:
            raise UserError("evaluation.exact must be false: vLLM samples answers and gives no exact probabilities")
        suites = [
            _requests(checkpoint, str(name), suite, settings) for name, suite in problems.groupby("suite", sort=False)
        ]
        with tempfile.TemporaryDirectory(prefix="rlscale-vllm-") as folder:
            requests, answers = Path(folder) / "requests.parquet", Path(folder) / "answers.parquet"
            asked = pd.concat(suites, ignore_index=True)
            asked.to_parquet(requests, index=False)
            argv = [sys.executable, "-m", "rlscale.evaluators.vllm_child", str(requests), str(answers)]
            # Room for the longest, and no more: a model's own limit may need more cache than there is.
            longest = max(token_counts(asked["prompt"].tolist(), checkpoint)) + int(asked["max_new_tokens"].max())
            engine = canonical_json(self._engine(checkpoint) | {"max_model_len": longest})
            done = subprocess.run(  # noqa: S603
                [*argv, engine], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
            )
            if done.returncode or not answers.is_file():
                said = "\n".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:])
                raise RuntimeError(f"vLLM failed on {checkpoint} with {done.returncode}:\n{said}")
            return pd.read_parquet(answers)

    def _engine(self, checkpoint: Path) -> dict[str, object]:
        is_cpu = self.placement.device == "cpu"
        return {
            "model": str(checkpoint),
            "tensor_parallel_size": self.placement.engine_gpus,
            "gpu_memory_utilization": self.placement.engine_memory,
            "dtype": "float32" if is_cpu else "bfloat16",
            "enforce_eager": is_cpu,
            "enable_prefix_caching": True,
            "trust_remote_code": False,
        }


def _requests(checkpoint: Path, name: str, suite: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Return one row for each problem and mode: what is asked, how often, and with which seed."""
    asked = suite.head(settings.sampled_problems)
    longest = settings.max_new_tokens
    if longest is None:
        longest = max(token_counts(asked["answer"].astype("str").tolist(), checkpoint)) + 1
    sampled = pd.DataFrame(
        {
            "problem": range(len(asked)),
            "mode": "sampled",
            "prompt": prompt_texts(asked, checkpoint),
            "temperature": settings.temperature,
            "samples": settings.samples,
            "seed": [derived_seed("evaluation", settings.seed, name, place) % 2**31 for place in range(len(asked))],
            "max_new_tokens": longest,
            "suite": name,
        }
    )
    if not settings.greedy:
        return sampled
    return pd.concat([sampled, sampled.assign(mode="greedy", temperature=0.0, samples=1)], ignore_index=True)
