"""The jobs that make problems, models and scores: read the inputs, train or answer or grade, write with a record.

Where files lie follows from the study's name (`rlscale.paths`), and what a job is to do from the specifications that
the workflow wrote as its inputs. Heavy modules are imported by the jobs that need them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlscale.attempts import OpenAttempt, new_attempt
from rlscale.errors import UserError
from rlscale.files import read_json, remove_others, write_table
from rlscale.job import Ticker, logged_job
from rlscale.paths import StudyPaths, record_of
from rlscale.writers import only_writer

if TYPE_CHECKING:
    import pandas as pd

    from rlscale.placement import Placement


def pool(study: str, pool_id: str) -> None:
    """Make or read the training problems of a pool."""
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("pools", pool_id), paths.pool(pool_id)
    with logged_job(f"pool {pool_id}", paths.log("pool", pool_id)) as started:
        spec = read_json(spec_path)
        table = _task(spec["task"]).train(spec["families"], spec["skill_share"], spec["seed"], spec["problems"])
        write_table(table, output)
        inputs = [spec_path, *_task_files(spec["task"])]
        write_record(output, study=study, stage="pool", name=pool_id, inputs=inputs, started=started)


def suites(study: str) -> None:
    """Make or read the problems of all evaluation suites."""
    import pandas as pd

    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("study", "suites"), paths.suites
    with logged_job("suites", paths.log("suites", "suites")) as started:
        spec = read_json(spec_path)
        source = _task(spec["task"])
        tables = [source.suite(name, spec["problems"], spec["seed"]).assign(suite=name) for name in spec["suites"]]
        write_table(pd.concat(tables, ignore_index=True), output)
        inputs = [spec_path, *_task_files(spec["task"])]
        write_record(output, study=study, stage="suites", inputs=inputs, started=started)


def base(study: str, base_id: str) -> None:
    """Make a base model: fetched from the hub, or built by the supervised stages on the task's corpus."""
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("bases", base_id), paths.base(base_id)
    with logged_job(f"base {base_id}", paths.log("base", base_id)) as started:
        spec = read_json(spec_path)
        facts = _fetched_base(base_id, spec, output) if "repo" in spec else _built_base(base_id, spec, output)
        write_record(output, study=study, stage="base", name=base_id, inputs=[spec_path], started=started, facts=facts)


def _fetched_base(base_id: str, spec: dict[str, Any], output: Path) -> dict[str, object]:
    from rlscale.models.hub import fetch_base

    fetch_base(base_id, spec["repo"], spec["revision"], output)
    return {"repo": spec["repo"], "revision": spec["revision"]}


def _built_base(base_id: str, spec: dict[str, Any], output: Path) -> dict[str, object]:
    import torch

    from rlscale.ladder import Supervised
    from rlscale.models.checkpoint import save_checkpoint
    from rlscale.models.supervised import architecture, new_model, train_on_corpus

    torch.set_num_threads(1)
    problems = _task(spec["task"])
    model = new_model(architecture(spec["model"], len(problems.vocabulary)), spec["seed"])
    facts: dict[str, object] = {"seed": spec["seed"]}
    for name in ("supervised", "instruct"):
        if spec[name] is not None:
            stage = Supervised.model_validate(spec[name])
            facts[f"{name}_loss_nats"] = train_on_corpus(
                model, problems, stage, seed=spec["seed"], instruct=name == "instruct", report=Ticker(base_id)
            )
    identity: dict[str, object] = {"base": base_id, "step": 0}
    save_checkpoint(model, output, tokenizer=problems.vocabulary.tokenizer_json(), identity=identity)
    return facts


def train(study: str, run_id: str) -> None:
    """Train a run to its last budget, from where it stands; a checkpoint at each budget.

    Raises:
        UserError: another process trains it.
    """
    paths = StudyPaths(study)
    with _job_of_run(paths, "train", run_id) as started:
        cell = read_json(paths.cell(run_id))
        with new_attempt(paths.resume(run_id, cell["fingerprint"])) as attempt:
            _train(paths, cell, attempt, started)


def _train(paths: StudyPaths, cell: dict[str, Any], attempt: OpenAttempt, started: datetime) -> None:
    import pandas as pd

    from rlscale.provenance import checkpoint_fingerprint, write_record
    from rlscale.trainers import Progress, TrainingJob, trainer_named

    run_id, identity, fingerprint = cell["run"], cell["identity"], cell["fingerprint"]
    base_path, pool_path, output = paths.base(cell["base"]), paths.pool(cell["pool"]), paths.steps(run_id)
    tick = Ticker(run_id)

    def report(progress: Progress) -> None:
        attempt.report(**asdict(progress))
        done = f"step {progress.step} of {progress.last_step}"
        tick(f"{done}, reward {progress.reward_mean:.3f}, {progress.seconds_left:.0f} s left")

    job = TrainingJob(
        run_id=run_id,
        fingerprint=fingerprint,
        budgets=tuple(cell["budgets"]),
        identity=identity,
        base=base_path,
        problems=_kept(pd.read_parquet(pool_path), identity),
        checkpoint=lambda step: paths.checkpoint(run_id, step),
        resume=paths.resume(run_id, fingerprint),
        report=report,
        placement=_placement(paths, identity["model"]["name"]),
        resumed=attempt.resumed,
    )
    steps = trainer_named(identity["trainer"]).train(job)
    write_table(steps, output)
    planned = [paths.checkpoint(run_id, step) for step in cell["budgets"]]
    # Checkpoints of this fingerprint stay, planned now or not: a later budget may want them again.
    own = [path for path in paths.checkpoints(run_id).glob("step-*") if checkpoint_fingerprint(path) == fingerprint]
    remove_others(paths.checkpoints(run_id), own)
    state = paths.resume(run_id, fingerprint)
    remove_others(state.parent, [state])
    write_record(
        output,
        study=paths.study,
        stage="train",
        name=run_id,
        adapter=identity["trainer"],
        inputs=[paths.cell(run_id), base_path, pool_path],
        # The state at the last budget, from which a later budget goes on; what lies beside it is the run's diary.
        outputs=[*planned, *sorted(path for path in state.iterdir() if path.is_dir())],
        started=started,
        facts={"fingerprint": fingerprint, "seed": identity["seed"]},
    )


def evaluate(study: str, run_id: str) -> None:
    """Answer every suite with every checkpoint of a run; checkpoints that were answered before are not asked again.

    Raises:
        UserError: another process evaluates it, or a checkpoint that must be asked was dropped.
    """
    import pandas as pd

    from rlscale.answers import answer_shard, asked_checkpoint, longest_answer, superfluous
    from rlscale.evaluators import EvaluationSettings, evaluator_named
    from rlscale.provenance import drop_weights, file_digest, is_dropped, write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("study", "evaluation"), paths.rollouts(run_id)
    with _job_of_run(paths, "evaluate", run_id) as started:
        cell, spec = read_json(paths.cell(run_id)), read_json(spec_path)
        identity = cell["identity"]
        evaluator = evaluator_named(spec["evaluator"], _placement(paths, identity["model"]["name"]))
        settings = EvaluationSettings(**spec["settings"], max_new_tokens=longest_answer(identity))
        problems, suites = pd.read_parquet(paths.suites), file_digest(paths.suites)
        checkpoints = {step: asked_checkpoint(paths, cell, step) for step in (0, *cell["budgets"])}
        tick = Ticker(run_id)
        shards = []
        for step, checkpoint in checkpoints.items():
            shard = answer_shard(paths, cell, step, spec=spec, suites=suites)
            if not shard.is_file():
                if is_dropped(checkpoint):
                    raise UserError(
                        f"{checkpoint} was dropped after its evaluation (keep_checkpoints) and cannot be asked again: "
                        "remove the run's folders in runs/ and resume/ to train it anew"
                    )
                write_table(evaluator.evaluate(checkpoint, problems, settings).assign(step=step), shard)
            shards.append(shard)
            tick(f"evaluated {len(shards)} of {len(checkpoints)} checkpoints")
        rollouts = pd.concat([pd.read_parquet(shard) for shard in shards], ignore_index=True)
        write_table(rollouts.astype({"suite": "category", "mode": "category"}), output)
        remove_others(paths.rollout_shards(run_id), shards)
        inputs = [spec_path, paths.suites, record_of(paths.steps(run_id)), *checkpoints.values()]
        write_record(
            output,
            study=study,
            stage="evaluate",
            name=run_id,
            adapter=spec["evaluator"],
            inputs=inputs,
            outputs=shards,
            started=started,
        )
        keep = read_json(paths.spec("study", "retention"))["keep_checkpoints"]
        for step in superfluous(cell["budgets"], keep):
            drop_weights(paths.checkpoint(run_id, step), f"evaluated; keep_checkpoints is {keep}")


def grade(study: str, run_id: str) -> None:
    """Grade a run's rollouts into scores with standard errors over problems.

    Raises:
        UserError: another process grades them.
    """
    import pandas as pd

    from rlscale.curves import problem_table, score_table
    from rlscale.grading.rewards import math_rewards
    from rlscale.provenance import write_record
    from rlscale.rewards import grade_exact

    paths = StudyPaths(study)
    source, output = paths.rollouts(run_id), paths.scores(run_id)
    with _job_of_run(paths, "grade", run_id) as started:
        rollouts = pd.read_parquet(source)
        rollouts["reward"] = rollouts["probability"].astype("float64")
        problems = pd.read_parquet(paths.suites, columns=["suite", "answer"])
        truths = {name: table.to_numpy() for name, table in problems.groupby("suite")["answer"]}
        # Texts from files have many right spellings; a procedural answer has one.
        is_text = read_json(paths.cell(run_id))["identity"]["task"]["kind"] == "parquet"
        grader = math_rewards if is_text else grade_exact
        has_answer = rollouts["mode"] != "exact"
        for name, answers in rollouts[has_answer].groupby("suite", observed=True):
            golds = truths[name][answers["problem"]].tolist()
            right = grader(answers["answer"].tolist(), golds, answers["finished"])
            rollouts.loc[answers.index, "reward"] = right
        write_table(score_table(rollouts), output)
        by_problem = paths.problem_scores(run_id)
        write_table(problem_table(rollouts), by_problem)
        inputs, outputs = [source, paths.suites, paths.cell(run_id)], [by_problem]
        write_record(output, study=study, stage="grade", name=run_id, inputs=inputs, outputs=outputs, started=started)


@contextmanager
def _job_of_run(paths: StudyPaths, stage: str, run_id: str) -> Iterator[datetime]:
    """Log a job of a run, and keep others of its kind away while it lasts; yield its start (UTC).

    Raises:
        UserError: another process is at it.
    """
    job = f"{stage} {run_id}"
    with logged_job(job, paths.log(stage, run_id)) as started, only_writer(paths.lock(stage, run_id), job):
        yield started


def _kept(pool: "pd.DataFrame", identity: dict[str, Any]) -> "pd.DataFrame":
    """Return the problems of a pool that a run with data reuse keeps, and all where there is none."""
    from rlscale.tasks.subsets import subset

    how = identity["task"].get("subsets", "first")
    if identity["unique_problems"] is None or how == "first":
        return pool
    return subset(pool, identity["unique_problems"], how, tau=identity["tau"], seed=identity["pool"]["seed"])


def _placement(paths: StudyPaths, model: str) -> "Placement | None":
    """Return the GPUs of a model; read when a job starts and no input of it, since no result depends on them."""
    from rlscale.placement import Placement

    path = paths.spec("placements", model)
    return Placement.model_validate(read_json(path)) if path.is_file() else None


def _task(values: dict[str, Any]) -> Any:
    from rlscale.tasks import load_task

    return load_task(_task_spec(values))


def _task_files(values: dict[str, Any]) -> list[Path]:
    from rlscale.task_spec import ParquetTask

    task = _task_spec(values)
    return list(map(Path, task.local_files())) if isinstance(task, ParquetTask) else []


def _task_spec(values: dict[str, Any]) -> Any:
    from pydantic import TypeAdapter

    from rlscale.task_spec import TaskSpec

    return TypeAdapter(TaskSpec).validate_python(values)
