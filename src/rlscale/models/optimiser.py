"""AdamW through torch's functional form.

``torch.optim.AdamW`` imports the compiler when it is made, two seconds of a job that lasts ten. The arithmetic is
torch's own fused kernel; the state is plain tensors by parameter name, which is also the form that it is saved in.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).

    Attributes:
        updates: number of updates made; the bias correction depends on it.
    """

    def __init__(self, model: nn.Module, *, betas: Sequence[float], weight_decay: float) -> None:
        self.names, self.parameters = (list(column) for column in zip(*model.named_parameters(), strict=True))
        self.betas = betas
        self.weight_decay = weight_decay
        self.updates = 0
        self._first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._second = [torch.zeros_like(parameter) for parameter in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def clip(self, max_norm: float) -> float:
        """Scale the gradients down to ``max_norm``, parameters without one to zero; return the norm before."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return torch.nn.utils.clip_grad_norm_(self.parameters, max_norm).item()

    def step(self, learning_rate: float) -> None:
        """Make one update from the gradients."""
        with torch.no_grad():
            adamw(
                self.parameters,
                [parameter.grad for parameter in self.parameters],
                self._first,
                self._second,
                [],
                [torch.tensor(float(self.updates)) for _ in self.parameters],
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=learning_rate,
                weight_decay=self.weight_decay,
                eps=1e-8,
                maximize=False,
            )
        self.updates += 1

    def moments(self) -> dict[str, Tensor]:
        """Return both moments by parameter name; the tensors are the optimiser's own."""
        first = {f"first.{name}": tensor for name, tensor in zip(self.names, self._first, strict=True)}
        second = {f"second.{name}": tensor for name, tensor in zip(self.names, self._second, strict=True)}
        return first | second

    def restore(self, moments: Mapping[str, Tensor], updates: int) -> None:
        """Take over saved moments, and the number of updates behind them."""
        for name, tensor in self.moments().items():
            tensor.copy_(moments[name])
        self.updates = updates
