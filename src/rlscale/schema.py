"""JSON Schemas of the configuration files and of records, written from the models that check them."""

import json

from pydantic import TypeAdapter

from rlscale.ladder import Ladder
from rlscale.records import StoredRecord
from rlscale.study import Study


def schemas() -> dict[str, str]:
    """Return the texts of the JSON Schemas of a study, of a ladder and of a record, by name."""
    return {
        "study": _text(TypeAdapter(Study), "A study"),
        "ladder": _text(TypeAdapter(Ladder), "A ladder of models"),
        "record": _text(TypeAdapter(StoredRecord), "The record of an artefact"),
    }


def _text(adapter: TypeAdapter[object], title: str) -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **adapter.json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
