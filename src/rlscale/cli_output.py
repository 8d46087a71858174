"""What all commands share: the options they have in common and how JSON is printed."""

import json
from typing import Annotated

import typer

from rlscale import cli_completion

Study = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="Name of a shipped study, or the path of a YAML file.",
        autocompletion=cli_completion.studies,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def emit(value: dict[str, object], as_json: bool, text: str) -> None:
    """Print a value as JSON, or the text that says the same."""
    if as_json:
        print_json(value)
    else:
        typer.echo(text)


def print_json(value: object) -> None:
    """Print a value as JSON; what is not finite is a bug."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
