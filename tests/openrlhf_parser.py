"""The real argument parser of OpenRLHF, with its asserts, and without the libraries that a training run needs."""

import runpy
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

STUBS = (
    "ray",
    "ray.util",
    "ray.util.placement_group",
    "openrlhf.trainer",
    "openrlhf.trainer.ray",
    "openrlhf.trainer.ray.launcher",
    "openrlhf.trainer.ray.ppo_actor",
    "openrlhf.trainer.ray.ppo_critic",
)


class ParsedError(Exception):
    """Carries the parsed arguments out of OpenRLHF's command, which would go on to train."""


def parsed(words: Sequence[str]) -> Any:
    """Return what OpenRLHF makes of a command line.

    Raises:
        SystemExit: its parser refuses it.
        AssertionError: the arguments do not go together.
    """

    def stop() -> None:
        raise ParsedError(sys._getframe(1).f_locals["args"])

    modules: dict[str, ModuleType] = {name: MagicMock(name=name) for name in STUBS}
    modules["ray"].is_initialized = stop  # type: ignore[attr-defined]
    utils = ModuleType("openrlhf.utils")
    utils.__path__ = [f"{folder}/utils" for folder in _package().__path__]
    utils.get_strategy = None  # type: ignore[attr-defined]
    modules["openrlhf.utils"] = utils
    with patch.dict(sys.modules, modules), patch.object(sys, "argv", ["train_ppo_ray", *words]):
        try:
            runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")
        except ParsedError as done:
            return done.args[0]
    raise AssertionError("OpenRLHF's command ended without training")


def _package() -> ModuleType:
    import openrlhf

    return openrlhf
