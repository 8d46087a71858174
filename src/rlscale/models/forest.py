"""Token trees: the distinct prefixes of many sequences, each of which is computed once.

Sequences that begin alike share nodes for as long as they do, which is exact: what a decoder computes at a token
depends on the tokens before it only. So a prompt is computed once for all answers to it, and small models, which
answer a prompt in few ways, make half as many nodes of a group of eight answers as there are tokens, or fewer.
"""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Forest:
    """Nodes, numbered so that parents come before their children.

    Attributes:
        tokens: [n] token of each node.
        parent: [n] number of the node before it, −1 for none.
        position: [n] how many nodes are before it.
    """

    def __init__(self) -> None:
        self.tokens = self.parent = self.position = np.empty(0, np.int64)

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.tokens)

    def grow(self, parents: Ids, tokens: Ids) -> Ids:
        """Add a node for each *different* (parent, token) [n]; return the number of the node of each.

        The new nodes must be new: no earlier call may have made the same ones.
        """
        (parents, tokens), of_each = distinct(parents, tokens)
        first = len(self)
        position = self.position[parents] + 1 if first else np.zeros(len(parents), np.int64)
        self.tokens = np.concatenate((self.tokens, tokens))
        self.parent = np.concatenate((self.parent, parents))
        self.position = np.concatenate((self.position, np.where(parents < 0, 0, position)))
        return first + of_each

    def plant(self, sequences: Ids, lengths: Ids) -> Ids:
        """Add sequences [B, L], of which the first ``lengths`` [B] tokens count; return their nodes [B, L], else −1."""
        nodes = np.full(sequences.shape, -1)
        before = np.full(len(sequences), -1)
        for time in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(lengths > time)
            nodes[rows, time] = self.grow(before[rows], sequences[rows, time])
            before = nodes[:, time]
        return nodes


def distinct(parents: Ids, tokens: Ids) -> tuple[tuple[Ids, Ids], Ids]:
    """Return the different pairs (parent, token), ascending, and for each pair [n] given which of them it is."""
    base = int(tokens.max(initial=0)) + 1
    keys, of_each = np.unique(parents * base + tokens, return_inverse=True)
    return np.divmod(keys, base), of_each
