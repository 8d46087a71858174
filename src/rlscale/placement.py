"""Where a published model is trained: its shape, its GPUs, and whether one GPU's memory holds its part.

The estimates are upper bounds of what stays in memory, made from the shape alone, so that a run which cannot fit is
refused before it waits in a queue. Placement never enters a run's identity: the same run on other GPUs is the same run.
"""

from dataclasses import asdict, dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from rlscale.model_base import Model, Problem, Share, refuse

GIB = 2**30
ENGINE_OVERHEAD_GIB = 3.0
"""What an engine of vLLM needs beside weights and cache: CUDA graphs, activations of the prefill, NCCL buffers."""


PROCESS_GIB = 16.0
"""Host memory of the processes of one GPU: trainer, engine, Ray, pinned buffers."""


class Decoder(Model):
    """The layers of a Qwen2-architecture decoder."""

    width: int = Field(ge=2, description="Size of the residual stream.")
    layers: int = Field(ge=1, description="Number of decoder layers.")
    heads: int = Field(ge=1, description="Attention heads; width / heads is even. vLLM needs heads of size 32 or more.")
    kv_heads: int = Field(ge=1, description="Key-value heads; a divisor of heads.")
    ffn: int = Field(ge=1, description="Hidden size of the gated feed-forward block.")

    @property
    def kv_width(self) -> int:
        """Size of the keys of one place, and of its values."""
        return self.width // self.heads * self.kv_heads

    @property
    def non_embedding_params(self) -> int:
        """Parameters without embedding and output layer: attention with q, k, v biases, gated feed-forward, norms."""
        attention = 2 * self.width * self.width + self.width + 2 * self.kv_width * (self.width + 1)
        return self.layers * (attention + 3 * self.width * self.ffn + 2 * self.width) + self.width


class Shape(Decoder):
    """The shape of a published model, embeddings included."""

    vocabulary: int = Field(ge=1, description="Rows of the embedding.")
    tied: bool = Field(description="Whether the output layer is the embedding.")

    @property
    def params(self) -> int:
        """All parameters."""
        return self.non_embedding_params + self.vocabulary * self.width * (1 if self.tied else 2)


class Placement(Model):
    """The GPUs of one run, all of which train and generate in turn (OpenRLHF's hybrid engine)."""

    nodes: int = Field(1, ge=1, description="Nodes.")
    gpus_per_node: int = Field(ge=1, description="GPUs of each node.")
    engine_gpus: int = Field(1, ge=1, description="GPUs of one engine of vLLM (tensor parallel).")
    zero_stage: Literal[2, 3] = Field(3, description="What DeepSpeed shards: 2 gradients and optimiser, 3 weights too.")
    offload_optimizer: bool = Field(False, description="Whether the optimiser's states live in the host's memory.")
    micro_batch: int = Field(1, ge=1, description="Rollouts that a GPU takes through the update at once.")
    engine_memory: Share = Field(0.6, description="Share of a GPU's memory that an engine of vLLM may take.")
    device: Literal["cuda", "cpu"] = Field("cuda", description="cpu: no GPU, for trying the path out.")
    stall_minutes: float = Field(60.0, gt=0.0, description="A run that makes no step for so long is ended.")
    cpus_per_node: int | None = Field(None, ge=1, description="CPU cores to ask for on each node; null: 8 a GPU, or 1.")
    memory_gib: float | None = Field(None, gt=0.0, description="Host memory to ask for on each node; null: estimated.")
    runtime_min: int | None = Field(None, ge=1, description="Wall time to ask for [minutes]; null: estimated.")
    reason: str = Field(min_length=1, description="Why these numbers.")

    @model_validator(mode="after")
    def _engines_fill_the_gpus(self) -> Self:
        if self.gpus % self.engine_gpus:
            allowed = f"it must divide the {self.gpus} GPUs (every GPU belongs to an engine)"
            refuse([Problem(("engine_gpus",), f"is {self.engine_gpus}; {allowed}")])
        return self

    @property
    def gpus(self) -> int:
        """All GPUs of the run."""
        return self.nodes * self.gpus_per_node

    @property
    def cuda_per_node(self) -> int:
        """GPUs to ask for on each node: none where the device is the CPU."""
        return self.gpus_per_node if self.device == "cuda" else 0


class Utilisation(Model):
    """Share of the peak that each kind of work reaches; generation reads weights for few tokens at a time."""

    rollout: float = Field(gt=0.0, le=1.0, description="Generation.")
    forward: float = Field(gt=0.0, le=1.0, description="Old and reference log-probabilities.")
    update: float = Field(gt=0.0, le=1.0, description="Forward and backward of the update.")


class Gpu(Model):
    """The kind of GPU that a ladder's placements are made for."""

    name: str = Field(min_length=1, description="Name, for tables.")
    memory_gib: float = Field(gt=0.0, description="Memory.")
    peak_flops: float = Field(gt=0.0, description="Dense bf16 FLOPs a second.")
    utilisation: Utilisation = Field(description="Share of the peak by kind of work.")
    reason: str = Field(min_length=1, description="Where these numbers come from.")

    def seconds(self, params: int, tokens: float) -> float:
        """Return seconds of one such GPU for GRPO on ``tokens`` tokens of rollouts by a model of ``params``.

        2·N·T for the rollouts, 2·N·T each for old and reference log-probabilities, 6·N·T for the update.
        """
        forward = 2.0 * params * tokens
        share = self.utilisation
        return forward * (1 / share.rollout + 2 / share.forward + 3 / share.update) / self.peak_flops


@dataclass(frozen=True)
class GpuMemory:
    """GiB of one GPU's memory, by what holds it.

    Attributes:
        weights: bf16 weights that the trainer keeps resident.
        gradients: bf16 gradients.
        optimizer: fp32 weights and both moments of Adam.
        reference: bf16 weights of the reference model.
        activations: of one micro-batch, with a checkpoint at each layer and one layer's recomputation.
        logits: of one micro-batch: bf16, fp32 and their gradient.
        engine: what vLLM may take.
        engine_weights: of that, its weights.
        cache_tokens: tokens of keys and values that one engine has room for.
    """

    weights: float
    gradients: float
    optimizer: float
    reference: float
    activations: float
    logits: float
    engine: float
    engine_weights: float
    cache_tokens: int

    @property
    def update(self) -> float:
        """GiB at the height of an update, while the engine sleeps."""
        held = self.weights + self.gradients + self.optimizer + self.reference
        return held + self.activations + self.logits

    @property
    def rollout(self) -> float:
        """GiB during the rollouts, while the optimiser sleeps in the host's memory."""
        return self.weights + self.engine

    def to_json(self) -> dict[str, float]:
        """Return every part and both heights, in GiB."""
        return {**asdict(self), "update": self.update, "rollout": self.rollout}


def gpu_memory(shape: Shape, placement: Placement, tokens: int, memory_gib: float) -> GpuMemory:
    """Estimate what one GPU must hold.

    16 bytes a parameter (2 weights, 2 gradients, 12 optimiser: Rajbhandari et al., arXiv 1910.02054, mixed precision),
    sharded by stage; activations of 34 bytes a token and width in the layer being recomputed (Korthikanti et al., arXiv
    2205.05198, without the attention scores that flash attention never stores).

    Args:
        shape: of the model.
        placement: its GPUs.
        tokens: longest rollout, prompt and answer.
        memory_gib: of one GPU.
    """
    count, shards = shape.params, placement.gpus
    split = shards if placement.zero_stage == 3 else 1
    # With stage 3 the weights of a layer, and the largest matrix of all, are gathered while they are used.
    layer = shape.non_embedding_params / shape.layers
    gathered = 0.0 if split == 1 else 2 * max(2 * layer, float(shape.vocabulary * shape.width))
    places = placement.micro_batch * tokens
    engine = placement.engine_memory * memory_gib
    engine_weights = 2 * count / placement.engine_gpus / GIB
    free = max(0.0, engine - engine_weights - ENGINE_OVERHEAD_GIB)
    cache_bytes = 2 * 2 * shape.layers * max(shape.kv_width / placement.engine_gpus, shape.width / shape.heads)
    return GpuMemory(
        weights=(2 * count / split + gathered) / GIB,
        gradients=2 * count / shards / GIB,
        optimizer=0.0 if placement.offload_optimizer else 12 * count / shards / GIB,
        reference=2 * count / split / GIB,
        activations=places * shape.width * (2 * shape.layers + 34) / GIB,
        logits=places * shape.vocabulary * (2 + 4 + 4) / GIB,
        engine=engine,
        engine_weights=engine_weights,
        cache_tokens=int(free * GIB / cache_bytes),
    )


def memory_problems(shape: Shape, placement: Placement, tokens: int, memory_gib: float) -> list[str]:
    """Return why a run of rollouts of up to ``tokens`` tokens does not fit its GPUs; empty where it does."""
    need = gpu_memory(shape, placement, tokens, memory_gib)
    problems = []
    for phase, height in (("an update", need.update), ("the rollouts", need.rollout)):
        if height > memory_gib:
            problems.append(f"{phase} would take {height:.0f} of a GPU's {memory_gib:g} GiB")
    if need.cache_tokens < tokens:
        problems.append(f"an engine would hold {need.cache_tokens} tokens, and one rollout has up to {tokens}")
    return problems


def host_memory_gib(shape: Shape, placement: Placement) -> float:
    """Estimate what one node's own memory must hold.

    For each GPU the sleeping optimiser's share (12 bytes a parameter, sharded), an engine's sleeping weights, and
    16 GiB for processes and buffers; once a node, the bf16 weights that are mapped while they are loaded.
    """
    sleeping = 12 * shape.params / placement.gpus + 2 * shape.params / placement.engine_gpus
    return placement.gpus_per_node * (sleeping / GIB + PROCESS_GIB) + 2 * shape.params / GIB
