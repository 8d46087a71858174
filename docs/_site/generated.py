"""Pages that are made while the site is built, so that nothing is described twice.

The home page is the README with its links turned; the command line's reference is what typer says of the command, and
that of configuration files and records is made from their JSON Schemas.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
Schema = dict[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages (an event of MkDocs)."""
    pages = {"index.md": _home(), "reference/cli.md": _command_line()}
    for name in ("study", "ladder", "record"):
        pages[f"reference/{name}.md"] = _schema(name)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def _home() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"(?<!\[)`docs/([\w-]+\.md)`", r"[`docs/\1`](\1)", text)


def _command_line() -> str:
    """Return the reference of all commands that are not hidden; typer's own tool writes the hidden ones too."""
    command = [sys.executable, "-m", "typer", "rlscale.cli", "utils", "docs", "--name", "rlscale"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "100"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    names = "|".join(_hidden())
    text = re.sub(rf"^\* `({names})`:.*\n", "", done.stdout, flags=re.MULTILINE)
    return re.sub(rf"^## `rlscale ({names})`\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)


def _hidden() -> list[str]:
    sys.path.insert(0, str(ROOT / "src"))
    from rlscale.cli import app

    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    return [name for name, command in commands.items() if command.hidden]


def _schema(name: str) -> str:
    file = f"config/schema/{name}.schema.json"
    schema = json.loads((ROOT / file).read_text(encoding="utf-8"))
    lines = [f"# {schema['title']}", "", f"Every key, from `{file}`, which editors read too.", ""]
    lines += _part(schema["title"], schema, top=True)
    for title in _mentioned(schema):
        lines += _part(title, schema["$defs"][title], top=False)
    return "\n".join(lines) + "\n"


def _mentioned(schema: Schema) -> list[str]:
    """Return the parts of a schema in the order in which they are first spoken of, from the whole inwards."""
    found: list[str] = []
    waiting = [{key: value for key, value in schema.items() if key != "$defs"}]
    for part in waiting:
        new = [name for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(part)) if name not in found]
        found += dict.fromkeys(new)
        waiting += [schema["$defs"][name] for name in dict.fromkeys(new)]
    return found


def _part(title: str, part: Schema, *, top: bool) -> Iterator[str]:
    if not top:
        yield from (f"## {title}", "")
    if "description" in part:
        yield from (_cell(part["description"]), "")
    if "properties" not in part:
        yield from (_type(part), "")
        return
    required = part.get("required", [])
    yield from ("| key | value | default | meaning |", "| --- | --- | --- | --- |")
    for key, value in part["properties"].items():
        default = "required" if key in required else f"`{json.dumps(value.get('default'), ensure_ascii=False)}`"
        yield f"| `{key}` | {_type(value)} | {default} | {_cell(value.get('description', ''))} |"
    yield ""


def _type(value: Schema) -> str:
    """Return what a value may be, in words, with links to the parts of the schema."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in value or "enum" in value:
        return ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    for union in ("anyOf", "oneOf"):
        if union in value:
            return " or ".join(_type(one) for one in value[union])
    if value.get("type") == "array":
        inside = value.get("items") or {}
        return f"list of {_type(inside)}" if inside else "list"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"mapping to {_type(value['additionalProperties'])}"
    return " ".join([str(value.get("type", "anything")), *_bounds(value)])


def _bounds(value: Schema) -> Iterator[str]:
    for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")):
        if key in value:
            yield f"{sign} {value[key]:g}"
    if "pattern" in value:
        yield f"matching `{value['pattern']}`".replace("|", r"\|")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
