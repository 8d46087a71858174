"""The process that holds the engine: ``python -m rlscale.evaluators.vllm_child REQUESTS ANSWERS ENGINE``.

REQUESTS is the table of what is asked, ANSWERS the rollouts to write, ENGINE the engine's settings as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.files import write_table


def main() -> None:
    """Answer all requests at once."""
    from vllm import LLM, SamplingParams

    requests, engine = pd.read_parquet(sys.argv[1]), json.loads(sys.argv[3])
    llm = LLM(**engine)
    asked = [
        SamplingParams(n=row.samples, temperature=row.temperature, seed=row.seed, max_tokens=row.max_new_tokens)
        for row in requests.itertuples()
    ]
    answers = llm.generate(requests["prompt"].tolist(), asked)
    rows = [
        (row.problem, row.mode, sample, output.text, output.finish_reason == "stop", np.nan, row.suite)
        for row, answer in zip(requests.itertuples(), answers, strict=True)
        for sample, output in enumerate(answer.outputs)
    ]
    table = pd.DataFrame(rows, columns=["problem", "mode", "sample", "answer", "finished", "probability", "suite"])
    types = {"problem": "int32", "sample": "int16", "probability": "float32"}
    write_table(table.astype(types), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
