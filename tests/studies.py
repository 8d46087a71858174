"""A small valid study and ladder as plain values, for tests to change."""

from typing import Any


def ladder_values() -> dict[str, Any]:
    """Return a built ladder of two sizes."""
    stage = {
        "steps": 10,
        "learning_rate": 0.16,
        "learning_rate_width_exponent": -1,
        "reference_width": 1,
        "warmup_steps": 2,
    }
    shape = {"layers": 1, "heads": 1, "kv_heads": 1}
    return {
        "kind": "built",
        "description": "Two sizes.",
        "models": {"small": {"width": 8, "ffn": 8, **shape}, "large": {"width": 16, "ffn": 16, **shape}},
        "supervised": stage,
        "instruct": {**stage, "steps": 5},
    }


def hub_values() -> dict[str, Any]:
    """Return a hub ladder of one size."""
    model = {"params": 1000, "non_embedding_params": 900, "base": "org/base", "instruct": "org/instruct"}
    return {"kind": "hub", "description": "One size.", "models": {"small": model}}


def study_values(**changes: Any) -> dict[str, Any]:
    """Return a study over the built ladder: one block, two runs; ``changes`` replace whole keys."""
    training = {
        "prompts_per_step": 4,
        "learning_rate": 0.01,
        "learning_rate_width_exponent": -0.5,
        "train_problems": 32,
    }
    values = {
        "kind": "trained",
        "description": "A study.",
        "trainer": "local",
        "evaluator": "local",
        "ladder": "ladder",
        "task": {"kind": "skills"},
        "training": training,
        "budgets": [1, 2, 8],
        "grid": {"law": {}},
        "evaluation": {},
    }
    return values | changes
