"""The local trainer and the local evaluator under the tests that every trainer and evaluator passes."""

from pathlib import Path

import pytest
from tests.evaluator_protocol import EvaluatorProtocol
from tests.tiny import base_model, save, training_job
from tests.trainer_protocol import Trained, TrainerProtocol, trained

from rlscale.evaluators import Evaluator
from rlscale.evaluators.local import LocalEvaluator
from rlscale.trainers.local.trainer import LocalTrainer


class TestLocalTrainer(TrainerProtocol):
    @pytest.fixture(scope="class")
    @classmethod
    def done(cls, tmp_path_factory: pytest.TempPathFactory) -> Trained:
        folder = tmp_path_factory.mktemp("local")
        return trained(LocalTrainer(), lambda report: training_job(folder, (2, 5, 8), report=report))


class TestLocalEvaluator(EvaluatorProtocol):
    @pytest.fixture(scope="class")
    @classmethod
    def evaluator(cls) -> Evaluator:
        return LocalEvaluator()

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoint(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return save(base_model(), tmp_path_factory.mktemp("evaluator") / "base")
