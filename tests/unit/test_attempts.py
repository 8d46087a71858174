"""What a run says of itself: attempts with their outcome, the last step, and the steps that a kill cost."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale import attempts as module
from rlscale.attempts import ATTEMPTS, PROGRESS, OpenAttempt, attempts, new_attempt, progress


def report(attempt: OpenAttempt, *steps: int, last: int = 100, reward: float = 0.5, left: float = 9.0) -> None:
    for step in steps:
        attempt.report(step=step, last_step=last, reward_mean=reward, seconds_left=left)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_REPORTS", 0.0)


def test_a_run_that_never_began_has_none(tmp_path: Path) -> None:
    assert attempts(tmp_path / "nowhere") == []
    assert progress(tmp_path / "nowhere") is None


def test_an_attempt_that_ends_well(tmp_path: Path) -> None:
    with new_attempt(tmp_path) as attempt:
        attempt.resumed(0)
        report(attempt, 1, 2)
        (running,) = attempts(tmp_path)
        assert (running.outcome, running.ended, running.resumed_after) == (None, None, 0)
    (done,) = attempts(tmp_path)
    assert (done.number, done.outcome, done.error, done.reached, done.lost_steps) == (1, "done", None, 2, 0)
    assert done.ended is not None
    assert done.ended >= done.started


def test_an_attempt_that_fails_keeps_the_last_line_and_step(tmp_path: Path) -> None:
    def fail() -> None:
        with new_attempt(tmp_path) as attempt:
            report(attempt, 1, 2, 3)
            raise RuntimeError("OpenRLHF failed with 1:\n  no GPU is free\n")

    with pytest.raises(RuntimeError):
        fail()
    (failed,) = attempts(tmp_path)
    assert (failed.outcome, failed.error, failed.reached) == ("failed", "RuntimeError: no GPU is free", 3)


def test_an_error_without_words_is_its_kind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_attempt(tmp_path):
        raise ZeroDivisionError
    assert attempts(tmp_path)[0].error == "ZeroDivisionError"


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_attempt_has_no_outcome(end: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(end), new_attempt(tmp_path):
        raise end
    assert attempts(tmp_path)[0].outcome is None


def test_progress_is_the_first_the_last_and_now_and_then(tmp_path: Path) -> None:
    attempt = OpenAttempt(tmp_path)
    seen = []
    for step in (1, 2, 3, 4):
        report(attempt, step, last=4)
        found = progress(tmp_path)
        assert found is not None
        seen.append(found.step)
    assert (seen[0], seen[-1]) == (1, 4)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_no_number_is_none(number: float, tmp_path: Path) -> None:
    report(OpenAttempt(tmp_path), 1, reward=number, left=number)
    found = progress(tmp_path)
    assert found is not None
    assert (found.reward_mean, found.seconds_left, found.attempt) == (None, None, 1)
    json.loads((tmp_path / PROGRESS).read_text(), parse_constant=pytest.fail)


@pytest.mark.usefixtures("every_step")
def test_lost_steps_count_from_the_next_attempt_that_knew_where_it_began(tmp_path: Path) -> None:
    first = OpenAttempt(tmp_path)
    first.resumed(0)
    report(first, *range(1, 38))
    OpenAttempt(tmp_path)  # killed before it looked
    assert [one.lost_steps for one in attempts(tmp_path)] == [0, 0]
    third = OpenAttempt(tmp_path)
    third.resumed(20)
    assert [one.lost_steps for one in attempts(tmp_path)] == [17, 0, 0]
    report(third, 21, 22)
    OpenAttempt(tmp_path).resumed(20)
    found = attempts(tmp_path)
    assert [one.reached for one in found] == [37, None, 22, None]
    assert [one.lost_steps for one in found] == [17, 0, 2, 0]


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("damage", ["", '{"attempt": 1, "rea', "\0\0\0"])
def test_files_that_a_lost_machine_tore_are_read_as_far_as_they_go(damage: str, tmp_path: Path) -> None:
    report(OpenAttempt(tmp_path), 1, 2)
    (tmp_path / PROGRESS).write_text(damage)
    with (tmp_path / ATTEMPTS).open("a") as stream:
        stream.write(damage)
    assert [one.number for one in attempts(tmp_path)] == [1]
    assert progress(tmp_path) is None
    with new_attempt(tmp_path) as second:
        second.resumed(0)
    assert [(one.number, one.outcome) for one in attempts(tmp_path)] == [(1, None), (2, "done")]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=6))
def test_steps_are_made_once_or_lost(tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[int, int]]) -> None:
    """Each attempt goes on from some step that was reached; all steps reported are the last one's or lost."""
    folder = tmp_path_factory.mktemp("run")
    reached = made = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SECONDS_BETWEEN_REPORTS", 0.0)
        for steps, back in plan:
            attempt = OpenAttempt(folder)
            begin = max(0, reached - back)
            attempt.resumed(begin)
            report(attempt, *range(begin + 1, begin + steps + 2))
            reached, made = begin + steps + 1, made + steps + 1
    found = attempts(folder)
    assert [one.number for one in found] == list(range(1, len(plan) + 1))
    assert sum(one.lost_steps for one in found) == made - reached
