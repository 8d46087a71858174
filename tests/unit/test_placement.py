"""Where published models train: sizes from shapes, memory of a GPU, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rlscale.config import load_ladder
from rlscale.ladder import HubLadder, HubModel
from rlscale.placement import Gpu, Placement, Shape, Utilisation, gpu_memory, memory_problems

ROOT = Path(__file__).parents[2]
LADDER = ROOT / "config/models/qwen2.5.yaml"
TOKENS = 6144
# Billions of parameters, all and without embeddings, as Qwen2.5's model cards and safetensors metadata give them.
CARDS = {
    "qwen2.5-0.5b": (0.494, 0.36),
    "qwen2.5-1.5b": (1.544, 1.31),
    "qwen2.5-3b": (3.086, 2.77),
    "qwen2.5-7b": (7.616, 6.53),
    "qwen2.5-14b": (14.770, 13.1),
    "qwen2.5-32b": (32.764, 31.0),
    "qwen2.5-72b": (72.706, 70.0),
}


@pytest.fixture(scope="module")
def ladder() -> HubLadder:
    found = load_ladder(LADDER)
    assert isinstance(found, HubLadder)
    return found


def parts(model: HubModel) -> tuple[Shape, Placement]:
    assert model.shape is not None
    assert model.placement is not None
    return model.shape, model.placement


@pytest.mark.parametrize("name", CARDS)
def test_shapes_count_as_the_model_cards_do(ladder: HubLadder, name: str) -> None:
    shape, _ = parts(ladder.models[name])
    assert shape.params / 1e9 == pytest.approx(CARDS[name][0], abs=0.0006)
    assert shape.non_embedding_params / 1e9 == pytest.approx(CARDS[name][1], rel=0.01)
    assert ladder.models[name].non_embedding_params / 1e9 == CARDS[name][1]


def test_the_documented_table_is_what_the_ladder_gives(ladder: HubLadder) -> None:
    written = (ROOT / "docs/placement.md").read_text()
    assert ladder.gpu is not None
    for name, model in ladder.models.items():
        shape, placement = parts(model)
        need = gpu_memory(shape, placement, TOKENS, ladder.gpu.memory_gib)
        placed = (f"{placement.nodes} × {placement.gpus_per_node}", placement.engine_gpus, placement.zero_stage)
        held = (need.weights, need.gradients, need.optimizer, need.reference, need.activations, need.logits)
        heights = (*held, need.update, need.rollout, need.engine_weights)
        cells = (name, *placed, placement.micro_batch, *(f"{value:.1f}" for value in heights), f"{need.cache_tokens:,}")
        assert "| " + " | ".join(map(str, cells)) + " |" in written


small = Shape(width=64, layers=4, heads=4, kv_heads=2, ffn=128, vocabulary=1000, tied=False)
placements = st.builds(
    Placement,
    nodes=st.integers(1, 4),
    gpus_per_node=st.sampled_from([1, 2, 4, 8]),
    zero_stage=st.sampled_from([2, 3]),
    offload_optimizer=st.booleans(),
    micro_batch=st.integers(1, 8),
    reason=st.just("any"),
)


@given(placement=placements, tokens=st.integers(16, 10_000))
def test_more_gpus_never_need_more_of_each_and_longer_rollouts_never_less(placement: Placement, tokens: int) -> None:
    def height(placement: Placement, tokens: int) -> float:
        return gpu_memory(small, placement, tokens, 80).update

    doubled = placement.model_copy(update={"nodes": 2 * placement.nodes})
    assert height(doubled, tokens) <= height(placement, tokens) * (1 + 1e-12)
    assert height(placement, 2 * tokens) > height(placement, tokens)
    offloaded = placement.model_copy(update={"offload_optimizer": True})
    assert height(offloaded, tokens) <= height(placement, tokens)


def test_sixteen_bytes_a_parameter_on_one_gpu() -> None:
    need = gpu_memory(small, Placement(gpus_per_node=1, zero_stage=2, reason="one"), TOKENS, 80)
    assert (need.weights + need.gradients + need.optimizer) * 2**30 == pytest.approx(16 * small.params)
    assert need.reference * 2**30 == pytest.approx(2 * small.params)
    assert need.logits * 2**30 == TOKENS * 1000 * 10


def test_what_does_not_fit_is_said(ladder: HubLadder) -> None:
    shape, placement = parts(ladder.models["qwen2.5-72b"])
    assert memory_problems(shape, placement, TOKENS, 79.6) == []
    one_node = placement.model_copy(update={"nodes": 1, "engine_gpus": 2})
    said = memory_problems(shape, one_node, TOKENS, 79.6)
    assert said[0].startswith("an update would take 1")
    assert said[1] == "an engine would hold 0 tokens, and one rollout has up to 6144"


def test_seconds_of_a_gpu_count_generation_two_forwards_and_the_update() -> None:
    gpu = Gpu(
        name="any",
        memory_gib=80,
        peak_flops=1e12,
        utilisation=Utilisation(rollout=0.1, forward=0.5, update=0.25),
        reason="made up",
    )
    # 2·N·T = 2e12 at 10 %, twice at 50 %, 6e12 at 25 %.
    assert gpu.seconds(10**6, 1e6) == pytest.approx(20 + 8 + 24)


def test_cells_say_gpus_hours_and_disk(run: Any) -> None:
    found = json.loads(run("cells", "paper-63", "--json")[1])
    by_run = {row["run_id"]: row["gpus"] for row in found["runs"]}
    assert len(by_run) == 63
    largest = by_run["qwen2.5-72b_base_s0"]
    assert (largest["nodes"], largest["gpus_per_node"]) == (8, 8)
    assert largest["wall_hours"] == pytest.approx(largest["hours"] / 64)
    assert largest["checkpoint_gib"] == pytest.approx(16 * 2 * 72.706e9 / 2**30, rel=1e-4)
    assert found["totals"]["gpu_hours"] == pytest.approx(sum(gpus["hours"] for gpus in by_run.values()))
    said = run("cells", "paper-63")[1]
    assert "8 × 8" in said
    assert "GPU-hours if every rollout is as long as allowed" in said
    assert "GPU-hours" not in run("cells", "mini")[1]
    assert len(json.loads(run("cells", "paper-54", "--json")[1])["runs"]) == 54


@pytest.fixture
def changed(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], str]:
    """Return a function that changes the ladder, validates paper-54 with it and returns stderr."""

    def validate(change: Callable[[Any], None]) -> str:
        yaml = YAML()
        values = yaml.load(LADDER)
        change(values)
        (tmp_path / "config/models").mkdir(parents=True, exist_ok=True)
        (tmp_path / "config/studies").mkdir(exist_ok=True)
        yaml.dump(values, tmp_path / "config/models/qwen2.5.yaml")
        study = (ROOT / "config/studies/paper-54.yaml").read_text()
        (tmp_path / "config/studies/paper-54.yaml").write_text(study)
        monkeypatch.chdir(tmp_path)
        code, out, err = run("validate", "paper-54")
        assert (code, out) == (2, "")
        return str(err)

    return validate


def test_a_study_whose_runs_do_not_fit_is_refused(changed: Callable[[Callable[[Any], None]], str]) -> None:
    said = changed(lambda ladder: ladder["models"]["qwen2.5-14b"]["placement"].update(nodes=1, micro_batch=16))
    assert "places qwen2.5-14b where it does not fit: an update would take" in said
    said = changed(lambda ladder: ladder["models"]["qwen2.5-7b"]["placement"].update(gpus_per_node=6, engine_gpus=1))
    assert "256 rollouts an update (group size 2) are no multiple of the 12 at once" in said
    said = changed(lambda ladder: ladder["models"]["qwen2.5-14b"]["placement"].update(engine_gpus=3))
    assert "engine_gpus: is 3; it must divide the 16 GPUs" in said
