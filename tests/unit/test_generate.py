"""Token trees of prompts and answers, against one ordinary forward pass per answer; and sampling."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tests.plain_qwen2 import plain_logits, plain_logprobs
from tests.tiny import SHAPE, base_model, problems, random_model
from torch import Tensor

from rlscale.ledger import ForwardCost
from rlscale.models.encoding import encode_problems
from rlscale.models.forest import Forest
from rlscale.models.generate import Rollouts, generate
from rlscale.models.qwen2 import Architecture, Qwen2
from rlscale.models.scoring import ScoredAnswers
from rlscale.tasks.vocabulary import EOS, PAD
from rlscale.trainers.local.grpo import group_advantages, k3, policy_loss

GROUPED = Architecture(width=32, layers=2, heads=4, kv_heads=2, ffn=24, vocabulary=18)
LENGTHS = (4, 1, 6, 3)


def ragged(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random prompts, padded on the right, and their lengths."""
    noise = torch.Generator().manual_seed(seed)
    prompts = torch.randint(2, 18, (len(lengths), max(lengths)), generator=noise)
    true_lengths = torch.tensor(lengths)
    return prompts * (torch.arange(max(lengths)) < true_lengths[:, None]), true_lengths


def random_answers(group: int, length: int, batch: int = len(LENGTHS)) -> Tensor:
    return torch.randint(0, 18, (batch, group, length), generator=torch.Generator().manual_seed(1))


def answer_logprobs(model: Qwen2, prompts: Tensor, lengths: Tensor, answers: Tensor, *, temperature: float) -> Tensor:
    """Return log-probabilities [B, G, A] of answers of full length, by their trees."""
    full = torch.full(answers.shape[:2], answers.shape[2])
    return ScoredAnswers(prompts, lengths, answers, full).logprobs(model, temperature)


def plain_group_logprobs(model: Qwen2, prompts: Tensor, lengths: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities [B, G, A] by one unpacked pass for each answer."""
    rows = [
        torch.stack([plain_logprobs(model, prompt[:length], answer, temperature) for answer in group])
        for prompt, length, group in zip(prompts, lengths.tolist(), answers, strict=True)
    ]
    return torch.stack(rows)


def sample(
    model: Qwen2,
    prompts: Tensor,
    lengths: Tensor,
    *,
    answers: int,
    tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> Rollouts:
    return generate(
        model, prompts, lengths, answers=answers, max_new_tokens=tokens, end=EOS, temperature=temperature,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


# --- teacher forcing


@pytest.mark.parametrize(("group", "length"), list(product((1, 2, 5), (1, 2, 4))))
@pytest.mark.parametrize("shape", [SHAPE, GROUPED], ids=["one layer", "two layers"])
def test_a_packed_row_scores_as_separate_sequences_do(shape: Architecture, group: int, length: int) -> None:
    model = random_model(shape).requires_grad_(False)
    prompts, lengths = ragged()
    answers = random_answers(group, length)
    packed = answer_logprobs(model, prompts, lengths, answers, temperature=0.7)
    assert packed.shape == answers.shape
    plain = plain_group_logprobs(model, prompts, lengths, answers, 0.7)
    torch.testing.assert_close(packed, plain, rtol=1e-5, atol=1e-5)


def test_prompts_of_one_length_score_as_separate_sequences_do() -> None:
    model = random_model(GROUPED).requires_grad_(False)
    prompts, lengths = ragged((5, 5, 5))
    answers = random_answers(3, 3, batch=3)
    packed = answer_logprobs(model, prompts, lengths, answers, temperature=1.0)
    plain = plain_group_logprobs(model, prompts, lengths, answers, 1.0)
    torch.testing.assert_close(packed, plain, rtol=1e-5, atol=1e-5)


def test_neither_padding_nor_neighbours_change_a_score() -> None:
    model = random_model(GROUPED).requires_grad_(False)
    prompts, lengths = ragged()
    answers = random_answers(3, 3)
    scores = answer_logprobs(model, prompts, lengths, answers, temperature=1.0)
    filler = torch.full((len(prompts), 3), 7)  # what stands in the padding is nobody's business
    wider = torch.where(torch.arange(9) < lengths[:, None], torch.cat((prompts, filler), 1), 7)
    padded = answer_logprobs(model, wider, lengths, answers, temperature=1.0)
    torch.testing.assert_close(padded, scores, rtol=1e-5, atol=1e-5)
    turned = answer_logprobs(model, prompts.flip(0), lengths.flip(0), answers.flip(0, 1), temperature=1.0)
    torch.testing.assert_close(turned.flip(0, 1), scores, rtol=1e-5, atol=1e-5)


# --- the gradient of the objective


def objective(logprobs: Tensor, fixed: dict[str, Tensor], rows: Tensor) -> Tensor:
    """Return the clipped loss with a KL term of the groups ``rows``, over a number of tokens that they do not set."""
    parts = {name: tensor[rows] for name, tensor in fixed.items()}
    loss = policy_loss(logprobs, parts["old"], parts["advantages"], parts["mask"], 0.2)
    penalty = parts["kl"].sum() / len(rows) * k3(logprobs, parts["reference"], parts["mask"])
    return (loss + penalty) / fixed["mask"].sum()


def gradients(model: Qwen2, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def close(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether the two gradients differ by at most 1e-5 of their norm, parameter by parameter and all together."""
    scale = max(tensor.norm().item() for tensor in other)
    return scale > 1e-3 and all(
        (a - b).norm().item() <= 1e-5 * max(b.norm().item(), 0.01 * scale) for a, b in zip(one, other, strict=True)
    )


def batch_of_experience(kl: float) -> tuple[Qwen2, Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Return a policy, ragged prompts, rollouts, and all that an update holds fixed; two of six groups are flat."""
    model = random_model(GROUPED)
    prompts, lengths = ragged((4, 1, 6, 3, 2, 5))
    rollouts = sample(model, prompts, lengths, answers=4, tokens=4)
    rewards = torch.rand(6, 4, generator=torch.Generator().manual_seed(5)).round()
    rewards[1], rewards[4] = 0.0, 1.0
    noise = torch.Generator().manual_seed(6)
    drift = torch.empty_like(rollouts.logprobs).normal_(0.0, 0.2, generator=noise)
    fixed = {
        "old": rollouts.logprobs + drift,  # far enough for ratios on both sides of the clip
        "reference": rollouts.logprobs - drift.flip(0),
        "advantages": group_advantages(rewards),
        "mask": rollouts.mask,
        "kl": torch.full((6,), kl),
    }
    ratio = (rollouts.logprobs - fixed["old"]).exp()[rollouts.mask]
    assert ratio.min() < 0.8
    assert ratio.max() > 1.2
    return model, prompts, lengths, rollouts.tokens, fixed


@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_the_gradient_is_that_of_separate_sequences(kl: float) -> None:
    model, prompts, lengths, tokens, fixed = batch_of_experience(kl)
    everyone = torch.arange(6)
    packed = objective(answer_logprobs(model, prompts, lengths, tokens, temperature=1.0), fixed, everyone)
    plain = objective(plain_group_logprobs(model, prompts, lengths, tokens, 1.0), fixed, everyone)
    assert close(gradients(model, packed), gradients(model, plain))


def test_groups_of_equal_rewards_add_nothing_to_the_gradient() -> None:
    model, prompts, lengths, tokens, fixed = batch_of_experience(0.0)
    flat = (fixed["advantages"] == 0).all(1)
    assert flat.tolist() == [False, True, False, False, True, False]

    def gradient_of(rows: Tensor) -> list[Tensor]:
        logprobs = answer_logprobs(model, prompts[rows], lengths[rows], tokens[rows], temperature=1.0)
        return gradients(model, objective(logprobs, fixed, rows))

    assert close(gradient_of((~flat).nonzero().squeeze(1)), gradient_of(torch.arange(6)))
    assert all(tensor.abs().max() == 0.0 for tensor in gradient_of(flat.nonzero().squeeze(1)))


# --- rollouts


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_rollouts_carry_the_scores_of_their_tokens(temperature: float) -> None:
    model = random_model(GROUPED).requires_grad_(False)
    prompts, lengths = ragged()
    rollouts = sample(model, prompts, lengths, answers=5, tokens=5, temperature=temperature)
    scores = answer_logprobs(model, prompts, lengths, rollouts.tokens, temperature=temperature)
    torch.testing.assert_close(rollouts.logprobs, scores * rollouts.mask, rtol=1e-5, atol=1e-5)


def test_what_follows_the_end_is_padding_and_what_has_no_end_is_cut_off() -> None:
    prompts, lengths = ragged()
    rollouts = sample(random_model(GROUPED), prompts, lengths, answers=60, tokens=6)
    finished = 0
    for tokens, logprobs, length, ended in zip(
        rollouts.tokens.flatten(0, 1),
        rollouts.logprobs.flatten(0, 1),
        rollouts.lengths.flatten().tolist(),
        rollouts.finished.flatten().tolist(),
        strict=True,
    ):
        words = tokens.tolist()
        assert ended == (EOS in words)
        assert length == (words.index(EOS) + 1 if ended else 6)
        assert words[length:] == [PAD] * (6 - length)
        assert logprobs[length:].tolist() == [0.0] * (6 - length)
        assert (logprobs[:length] < 0).all()
        finished += ended
    assert 20 < finished < 220  # both kinds are there
    assert torch.equal(rollouts.mask.sum(-1), rollouts.lengths)


def test_generation_stops_once_every_answer_has_ended() -> None:
    batch = encode_problems(problems().suite("heldout", 64, 0), SHAPE.vocabulary, None)
    inputs = (base_model(), batch.prompts, batch.prompt_lengths)
    greedy = generate(*inputs, answers=1, max_new_tokens=9, end=EOS, temperature=1.0, generator=None)
    assert bool(greedy.finished.all())
    assert len(greedy.passes) == greedy.lengths.max() < 9
    sampled = sample(*inputs, answers=4, tokens=2)
    assert 0.0 < sampled.finished.double().mean() < 1.0  # the base corpus wanders on now and then
    assert len(sampled.passes) == 2


def test_noise_follows_from_the_generator() -> None:
    prompts, lengths = ragged()
    one, same, other = (sample(random_model(SHAPE), prompts, lengths, answers=8, tokens=3, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.tokens, same.tokens)
    assert torch.equal(one.logprobs, same.logprobs)
    assert not torch.equal(one.tokens, other.tokens)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_softmax(temperature: float) -> None:
    model = base_model()
    prompt = problems().vocabulary.encode(["3 f0 ="])[0]
    prompts = torch.from_numpy(prompt).expand(1500, -1)
    rollouts = sample(model, prompts, torch.full((1500,), 3), answers=8, tokens=2, temperature=temperature)
    tokens = rollouts.tokens.flatten(0, 1)
    likeliest = int(plain_logits(model, torch.from_numpy(prompt)[0])[-1].argmax())
    for drawn, context in (
        (tokens[:, 0], prompt[0].tolist()),
        (tokens[tokens[:, 0] == likeliest, 1], [*prompt[0].tolist(), likeliest]),
    ):
        expected = torch.softmax(plain_logits(model, torch.tensor(context))[-1] / temperature, -1).double().numpy()
        counts = torch.bincount(drawn, minlength=18).double().numpy()
        common = expected * len(drawn) >= 5  # chi-square needs so many; the rest is one cell
        observed = [*counts[common], counts[~common].sum()]
        wanted = [*(expected[common] * len(drawn)), expected[~common].sum() * len(drawn)]
        assert len(wanted) >= 3
        assert chisquare(observed, wanted, sum_check=False).pvalue > 1e-3


def test_a_lower_temperature_makes_likelier_answers() -> None:
    prompts, lengths = ragged()

    def mean_logprob(temperature: float) -> float:
        model = random_model(SHAPE).requires_grad_(False)
        rollouts = sample(model, prompts, lengths, answers=200, tokens=1, temperature=temperature)
        return answer_logprobs(model, prompts, lengths, rollouts.tokens, temperature=1.0).mean().item()

    assert mean_logprob(0.3) > mean_logprob(1.0) + 0.1 > mean_logprob(3.0) + 0.2


def test_greedy_decoding_takes_the_likeliest_token_each_time() -> None:
    model = random_model(GROUPED).requires_grad_(False)
    prompts, lengths = ragged()
    greedy = generate(model, prompts, lengths, answers=2, max_new_tokens=4, end=EOS, temperature=1.0, generator=None)
    assert torch.equal(greedy.tokens[:, 0], greedy.tokens[:, 1])
    assert greedy.logprobs.abs().max() == 0.0
    for prompt, length, answer, count in zip(
        prompts, lengths.tolist(), greedy.tokens[:, 0], greedy.lengths[:, 0].tolist(), strict=True
    ):
        words = prompt[:length].tolist()
        for token in answer[:count].tolist():
            assert token == int(plain_logits(model, torch.tensor(words))[-1].argmax())
            words.append(token)


# --- trees and FLOPs


def test_what_begins_alike_shares_nodes() -> None:
    forest = Forest()
    nodes = forest.plant(np.array([[5, 6, 7], [5, 6, 0], [9, 6, 7]]), np.array([3, 2, 3]))
    assert forest.tokens.tolist() == [5, 9, 6, 6, 7, 7]
    assert forest.parent.tolist() == [-1, -1, 0, 1, 2, 3]
    assert forest.position.tolist() == [0, 0, 1, 1, 2, 2]
    assert nodes.tolist() == [[0, 2, 4], [0, 2, -1], [1, 3, 5]]
    grown = forest.grow(np.array([4, 2, 4, 4]), np.array([8, 8, 8, 1]))
    assert len(forest) == 9
    assert grown[0] == grown[2]
    assert len(set(grown.tolist())) == 3
    assert forest.parent[grown].tolist() == [4, 2, 4, 4]
    assert forest.tokens[grown].tolist() == [8, 8, 8, 1]
    assert forest.position[grown].tolist() == [3, 2, 3, 3]


@given(data=st.data())
def test_every_prefix_is_one_node(data: st.DataObject) -> None:
    """Against a dictionary of prefixes, for sequences planted and then grown token by token."""
    sequences = data.draw(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=8))
    lengths = np.array([len(sequence) for sequence in sequences])
    padded = np.array([sequence + [7] * (5 - len(sequence)) for sequence in sequences])
    prompts = np.minimum(lengths, data.draw(st.integers(1, 5)))
    forest = Forest()
    nodes = forest.plant(padded, prompts)[np.arange(len(prompts)), prompts - 1]
    grown = [nodes[row] if prompts[row] == lengths[row] else -1 for row in range(len(sequences))]
    for time in range(5):
        rows = np.flatnonzero((prompts <= time) & (lengths > time))
        nodes[rows] = forest.grow(nodes[rows], padded[rows, time])
        for row in rows:
            grown[row] = nodes[row] if lengths[row] == time + 1 else grown[row]

    def path(node: int) -> tuple[int, ...]:
        parent = int(forest.parent[node])
        return (*(path(parent) if parent >= 0 else ()), int(forest.tokens[node]))

    assert [list(path(int(node))) for node in grown] == sequences
    assert len({path(node) for node in range(len(forest))}) == len(forest)
    assert [len(path(node)) - 1 for node in range(len(forest))] == forest.position.tolist()


def test_a_gradient_after_another_pass_is_refused() -> None:
    model = random_model(GROUPED)
    prompts, lengths = ragged()
    loss = answer_logprobs(model, prompts, lengths, random_answers(2, 2), temperature=1.0).sum()
    sample(model, prompts, lengths, answers=2, tokens=2)
    with pytest.raises(RuntimeError, match="another pass"):
        loss.backward()


def test_flops_of_trees_by_hand() -> None:
    cost = ForwardCost(params=100, width=4, layers=2, vocabulary=10)
    prompts, lengths = torch.tensor([[3, 4, 5], [3, 4, 6]]), torch.tensor([3, 3])
    answers = torch.tensor([[[7, 1], [8, 1]], [[7, 1], [7, 1]]])
    scored = ScoredAnswers(prompts, lengths, answers, torch.full((2, 2), 2))
    # Nodes 3, 4, 5, 6 and 7, 8 after 5, 7 after 6; the leaves of both prompts and all three answers predict. They see
    # 1 + 2 + 2 · 3 + 3 · 4 nodes.
    assert scored.edges.forward_flops(cost) == 2 * 100 * 7 + 2 * 4 * 10 * 5 + 4 * 4 * 2 * 21


def test_flops_of_rollouts_are_those_of_their_passes() -> None:
    prompts, lengths = ragged()
    model = random_model(GROUPED)
    rollouts = sample(model, prompts, lengths, answers=3, tokens=2)
    shape = model.shape
    cost = ForwardCost(shape.params, shape.width, shape.layers, shape.vocabulary)
    prefill, decode = (cost.of_nodes(positions, logit_rows=rows) for positions, rows in rollouts.passes)
    assert rollouts.forward_flops(cost) == prefill + decode
    different = {
        (row, int(token)) for row, group in enumerate(rollouts.tokens[..., 0]) for token in group if token != EOS
    }
    assert len(rollouts.passes[1][0]) == len(different)
    assert rollouts.passes[0][1] == len(LENGTHS)
