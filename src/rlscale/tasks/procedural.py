"""What all problems made from a seed share: training pools, suites, and the corpus of the base model.

Everything random is drawn in blocks of a fixed size, each from its own generator, keyed by the task seed, the purpose,
the caller's seed and the block's number. So the first rows are the same however many are asked for, in any process.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlscale.canonical import digest
from rlscale.errors import UserError, did_you_mean
from rlscale.task_spec import ProceduralTask
from rlscale.tasks.families import ChainFamily, Digits, Facts, Family, Problems, Split
from rlscale.tasks.problem_id import problem_ids
from rlscale.tasks.vocabulary import DIGIT, EOS, Tokens, Vocabulary

BLOCK_ROWS = 4096
BLOCK_BATCHES = 64
MAX_DRAWS_A_ROUND = 1 << 16
MAX_ROUNDS = 100


def task_rng(spec: ProceduralTask, *stream: object) -> np.random.Generator:
    """Return the generator of one of a task's random streams, which its parts name."""
    return np.random.Generator(np.random.PCG64(int(digest([spec.seed, *stream]), 16)))


def task_split(spec: ProceduralTask, name: str) -> Split:
    """Return the split of a kind of problem."""
    return Split(int(digest([spec.seed, "split", name]), 16), spec.held_out_share)


class ProceduralProblems:
    """Problems made from a seed.

    Tables of problems have the columns `problem` (id), `family`, `prompt` and `answer` (texts in `vocabulary`).
    A problem may be drawn more than once: draws are independent, by the operators' weights.
    """

    def __init__(
        self, spec: ProceduralTask, facts: Facts, spellings: Digits, others: Mapping[str, Family] | None = None
    ) -> None:
        """Make the chains, and take the other families as they are.

        Args:
            spec: the task.
            facts: of the chains: the result [operators, states] of each operator on each state.
            spellings: digits [states, digits a state] that spell each state.
            others: further families, by name.
        """
        self.spec = spec
        self.vocabulary = Vocabulary(spec.operators)
        self._digits = int(spellings.max()) + 1
        self._chains = _chain_families(spec, facts, spellings)
        self._families: dict[str, Family] = {**self._chains, **(others or {})}

    def train(self, families: Sequence[str], skill_share: float, seed: int, n: int) -> pd.DataFrame:
        """Return `n` training problems, the families mixed evenly row by row (their order does not matter).

        Args:
            families: any of the task's.
            skill_share: share of the operators used, in (0, 1]; families without operators ignore it.
            seed: moves the draws.
            n: number of rows; fewer rows are the first of more.

        Raises:
            UserError: an unknown or repeated family, a share that keeps no operator, or too few such problems.
        """
        chosen = self._chosen(families)
        if not 0.0 < skill_share <= 1.0:
            raise UserError(f"skill_share must lie in (0, 1], got {skill_share}")
        return self._table(chosen, n, held_out=False, skill_share=skill_share, stream=("train", seed))

    def suite(self, name: str, n: int, seed: int) -> pd.DataFrame:
        """Return `n` held-out problems of a suite: `heldout` (family chain), or another family by its name.

        Raises:
            UserError: there is no such suite, or too few such problems.
        """
        suites = self.spec.suites
        if name not in suites:
            hint = "; held-out chains are the suite heldout" if name == "chain" else did_you_mean(name, suites)
            raise UserError(f"unknown suite {name!r}: allowed are {', '.join(suites)}{hint}")
        family = [self._families[suites[name]]]
        return self._table(family, n, held_out=True, skill_share=1.0, stream=("suite", name, seed))

    def operators(self, skill_share: float) -> NDArray[np.int64]:
        """Return the numbers of the operators that `skill_share` keeps, ascending."""
        return self._chains["chain"].operators(skill_share)

    def corpus(
        self, seed: int, batch_size: int, batches: int, *, format_noise: float
    ) -> Iterator[tuple[Tokens, NDArray[np.bool_]]]:
        """Yield batches of documents for the supervised stage: training problems with noisy answers.

        A batch is of one family, drawn by the corpus's shares, so that its rows have one length and no padding:
        prompt, answer, EOS. Both arrays are [batch_size, length]; the mask is True at [i, j] where the token [i, j] is
        a target, to be predicted from the tokens before it: the answer and the EOS, never the prompt.

        Args:
            seed: moves the draws; fewer batches are the first of more.
            batch_size: rows a batch.
            batches: number of batches.
            format_noise: probability that a random digit stands in the place of a row's EOS (the document wanders
                on, so that a model of it does not always stop). It is a target like any other.
        """
        names = sorted(self.spec.corpus)
        shares = np.cumsum([self.spec.corpus[name] for name in names])
        for block in range(-(-batches // BLOCK_BATCHES)):
            rng = task_rng(self.spec, "corpus", seed, batch_size, block)
            of_batch = np.searchsorted(shares[:-1] / shares[-1], rng.random(BLOCK_BATCHES), side="right")
            counts = np.bincount(of_batch, minlength=len(names)) * batch_size
            documents = [
                self._documents(rng, self._families[name], count, format_noise)
                for name, count in zip(names, counts.tolist(), strict=True)
            ]
            taken = [0] * len(names)
            for family in of_batch[: batches - block * BLOCK_BATCHES].tolist():
                tokens, is_target = documents[family]
                rows = slice(taken[family], taken[family] + batch_size)
                taken[family] += batch_size
                yield tokens[rows], is_target[rows]

    def _documents(
        self, rng: np.random.Generator, family: Family, count: int, format_noise: float
    ) -> tuple[Tokens, NDArray[np.bool_]]:
        wanders = rng.random(count) < format_noise
        last_word = np.where(wanders, DIGIT + (self._digits * rng.random(count)).astype(np.int64), EOS)
        problems = self._draw(rng, family, count, held_out=False, skill_share=1.0)
        answers = DIGIT + family.noisy_answers(rng, problems)
        tokens = np.column_stack([family.prompts(problems), answers, last_word])
        is_target = np.zeros(tokens.shape, dtype=bool)
        is_target[:, family.prompt_length :] = True
        return tokens, is_target

    def _table(
        self, families: list[Family], n: int, *, held_out: bool, skill_share: float, stream: tuple[object, ...]
    ) -> pd.DataFrame:
        if n < 1:
            raise UserError(f"the number of problems must be at least 1, got {n}")
        blocks = []
        for block in range(-(-n // BLOCK_ROWS)):
            rng = task_rng(self.spec, *stream, block)
            of_family = (len(families) * rng.random(BLOCK_ROWS)).astype(np.int64)
            texts = np.empty((BLOCK_ROWS, 3), dtype=object)
            for i, family in enumerate(families):
                rows = np.flatnonzero(of_family == i)
                problems = self._draw(rng, family, len(rows), held_out=held_out, skill_share=skill_share)
                texts[rows, 0] = family.name
                texts[rows, 1] = self.vocabulary.decode(family.prompts(problems))[0]
                texts[rows, 2] = self.vocabulary.decode(DIGIT + family.answers(problems))[0]
            blocks.append(texts)
        table = pd.DataFrame(np.concatenate(blocks)[:n], columns=["family", "prompt", "answer"], dtype="str")
        table.insert(0, "problem", problem_ids(table))
        return table

    def _draw(
        self, rng: np.random.Generator, family: Family, count: int, *, held_out: bool, skill_share: float
    ) -> Problems:
        """Draw `count` problems of one side of the split, by rejection."""
        share = self.spec.held_out_share if held_out else 1.0 - self.spec.held_out_share
        found: list[Problems] = []
        missing = count
        for _ in range(MAX_ROUNDS):
            if missing <= 0:
                break
            draws = min(int(1.1 * missing / share) + 64, MAX_DRAWS_A_ROUND)
            problems = family.draw(rng, draws, skill_share)
            found.append(problems[family.held_out(problems) == held_out])
            missing -= len(found[-1])
        if missing > 0:
            side = "held-out" if held_out else "training"
            raise UserError(
                f"the family {family.name} has too few {side} problems at skill_share {skill_share}: "
                f"raise operators ({self.spec.operators}) or change held_out_share ({self.spec.held_out_share})"
            )
        return np.concatenate(found)[:count] if found else family.draw(rng, 0, skill_share)

    def _chosen(self, families: Sequence[str]) -> list[Family]:
        known = self.spec.families
        for name in families:
            if name not in known:
                raise UserError(f"unknown family {name!r}: allowed are {', '.join(known)}{did_you_mean(name, known)}")
        if not families or len(set(families)) != len(families):
            raise UserError(f"families must name at least one family and none twice, got {list(families)}")
        return [self._families[name] for name in sorted(families)]


def _chain_families(spec: ProceduralTask, facts: Facts, spellings: Digits) -> dict[str, ChainFamily]:
    """Return both lengths of chain: one set of facts, one split."""
    weights = (np.arange(1.0, spec.operators + 1.0) + spec.operator_shift) ** -spec.operator_exponent
    order = np.argsort(task_rng(spec, "operator order").random(spec.operators))
    return {
        name: ChainFamily(
            name,
            facts,
            task_split(spec, "chain"),
            length=length,
            window=spec.chain_length,
            spellings=spellings,
            weights=weights,
            operator_order=order,
        )
        for name, length in (("chain", spec.chain_length), ("long", spec.long_chain_length))
    }
