"""What a run costs, in FLOPs, phase by phase.

Two views are kept side by side. The literature's is 6·N·T: one update over T tokens by a model of N parameters, and
nothing else. The ledger counts what is really computed: rollouts, old and reference log-probabilities, the update,
attention and the output layer included.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PHASES = ("rollout", "old_logprob", "reference_logprob", "update")


def planned_flops(*, params: int, samples: int, group_size: int, tokens_per_rollout: float) -> float:
    """Return 6·N·T (Kaplan et al., arXiv 2001.08361, section 2.1) for T = samples × group size × tokens per rollout."""
    return 6.0 * params * samples * group_size * tokens_per_rollout


@dataclass(frozen=True)
class ForwardCost:
    """FLOPs of forward passes of a decoder; a backward pass costs twice as much.

    Attributes:
        params: non-embedding parameters N; each token costs 2·N.
        width: residual width d.
        layers: number of decoder layers.
        vocabulary: rows of the output layer; each logit row costs 2·d·V.
    """

    params: int
    width: int
    layers: int
    vocabulary: int

    def forward(self, *, tokens: int, logit_rows: int, attended_pairs: int) -> float:
        """Return FLOPs of a forward pass.

        Args:
            tokens: positions that pass through the layers.
            logit_rows: positions whose logits are computed.
            attended_pairs: (query, key) pairs that are multiplied, masked ones included; 4·d each and layer.
        """
        output = 2.0 * self.width * self.vocabulary * logit_rows
        return 2.0 * self.params * tokens + output + 4.0 * self.width * self.layers * attended_pairs

    def of_nodes(self, positions: NDArray[np.int64], *, logit_rows: int) -> float:
        """Return FLOPs of a forward pass over nodes [n], each of which attends to itself and all that is before it."""
        pairs = int(positions.sum()) + len(positions)
        return self.forward(tokens=len(positions), logit_rows=logit_rows, attended_pairs=pairs)
