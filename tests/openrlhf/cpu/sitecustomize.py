"""Lets the unmodified OpenRLHF run where there is no GPU: its calls of CUDA become calls of the CPU.

Python imports a module of this name at its start if its folder is on PYTHONPATH; it does nothing unless
RLSCALE_CPU_SHIM is set. No file of a library is edited: each patch is made right after its module is imported.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class _Cpu(str):
    """The device "cpu", which writes itself as 0 where a name like cuda:0 is put together."""

    def __format__(self, _: str) -> str:
        return "0"


def _torch_cuda(module: Any) -> None:
    module.current_device = lambda: _Cpu("cpu")
    module.current_stream = lambda *_: None
    for name in ("synchronize", "empty_cache", "set_device"):
        setattr(module, name, lambda *_: None)


def _device_mesh(module: Any) -> None:
    original = module.init_device_mesh
    module.init_device_mesh = lambda _, *rest, **named: original("cpu", *rest, **named)


def _weight_sync(module: Any) -> None:
    """Weights travel over the group's own sockets, where there is no NCCL."""

    class Group:
        def __init__(self, host: str, port: int, rank: int, size: int) -> None:
            from vllm.distributed.utils import StatelessProcessGroup

            self.group = StatelessProcessGroup.create(host=host, port=port, rank=rank, world_size=size)

        def broadcast(self, tensor: Any, src: int, stream: Any) -> None:  # noqa: ARG002
            sent = tensor.detach().clone() if self.group.rank == src else None
            received = self.group.broadcast_obj(sent, src)
            if self.group.rank != src:
                tensor.copy_(received)

    module.stateless_init_process_group = lambda host, port, rank, size, _: Group(host, port, rank, size)


def _weight_update(module: Any) -> None:
    def update_weight(self: Any, name: str, dtype: Any, shape: Any, empty_cache: bool = False) -> None:  # noqa: ARG001
        import torch

        weight = torch.empty(shape, dtype=dtype)
        self._model_update_group.broadcast(weight, src=0, stream=None)
        self.model_runner.model.load_weights(weights=[(name, weight)])

    module.WorkerWrap.update_weight = update_weight


def _plain_gemm(module: Any) -> None:
    """Packed weights cannot be loaded again, as the weight sync does."""

    def dispatch(layer: Any, remove_weight: bool) -> None:  # noqa: ARG001
        import torch

        layer.cpu_linear = torch.nn.functional.linear

    module.dispatch_cpu_unquantized_gemm = dispatch


def _no_remote_code(module: Any) -> None:
    """vLLM's engine is a process that Ray does not know, and a word tokenizer of a model of type qwen2 needs this."""
    original = module.AutoTokenizer.from_pretrained
    module.AutoTokenizer.from_pretrained = lambda *args, **named: original(
        *args, **named | {"trust_remote_code": False}
    )


PATCHES: dict[str, Callable[[Any], None]] = {
    "torch.cuda": _torch_cuda,
    "torch.distributed.device_mesh": _device_mesh,
    "openrlhf.utils.distributed_util": _weight_sync,
    "openrlhf.trainer.ray.vllm_worker_wrap": _weight_update,
    "transformers.models.auto.tokenization_auto": _no_remote_code,
    "vllm.model_executor.layers.utils": _plain_gemm,
}


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, patch: Callable[[Any], None]) -> None:
        self.loader, self.patch = loader, patch

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self.loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.patch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = _Loader(spec.loader, PATCHES[name])
        return spec


if os.environ.get("RLSCALE_CPU_SHIM"):
    sys.meta_path.insert(0, _Finder())
