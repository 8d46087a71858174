"""What each of Ray's workers does before anything else: OpenRLHF would let a model's own code run, here none may."""

from collections.abc import Callable
from functools import partial
from typing import Any


def forbid_remote_code() -> None:
    """Make transformers load models and tokenizers without the code that may come with them, whatever it is asked."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoProcessor, AutoTokenizer

    for kind in (AutoConfig, AutoModelForCausalLM, AutoProcessor, AutoTokenizer):
        kind.from_pretrained = partial(_without_remote_code, kind.from_pretrained)  # type: ignore[method-assign]


def _without_remote_code(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return original(*args, **kwargs | {"trust_remote_code": False})
