"""Pydantic's errors as sentences of a configuration: the key, its value, what is allowed, the nearest match."""

from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails

from rlscale.errors import did_you_mean
from rlscale.model_base import Place, Problem

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}


def problems_of(error: ValidationError, values: object, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield a problem for each of ``error``'s details, at the keys of the file rather than of the model.

    A key that is missing because it is misspelt is reported once, as the misspelt key.
    """
    details = error.errors(include_url=False)
    misspelt = {(*detail["loc"][:-1], _near_key(detail, model)) for detail in details if _is_unknown(detail)}
    for detail in details:
        if detail["type"] == "missing" and detail["loc"] in misspelt:
            continue
        at = _place(detail, values)
        if detail["type"] == "problems":
            yield from (Problem((*at, *problem.at), problem.message) for problem in detail["ctx"]["problems"])
        elif _is_unknown(detail):
            yield Problem(at, _unknown(detail, model))
        else:
            about_key = detail["loc"][-1:] == ("[key]",)
            yield Problem(at, f"{'the key ' if about_key else ''}{_sentence(detail)}")


def shown(value: object) -> str:
    """Return ``value`` as one would write it in YAML, shortened, with its type where that helps."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return f'"{value if len(value) <= 60 else value[:57] + "..."}"'
    return str(value)


def _place(detail: ErrorDetails, values: object) -> Place:
    """Return the keys that lead to the error: Pydantic's location without the names of union members."""
    place: list[str | int] = []
    for position, key in enumerate(detail["loc"]):
        last = position == len(detail["loc"]) - 1
        inside = key in values if isinstance(values, Mapping) else _is_index(key, values)
        if inside:
            values = values[key]  # type: ignore[index]
        if inside or (last and detail["type"] == "missing"):
            place.append(key)
    return tuple(place)


def _is_index(key: str | int, values: object) -> bool:
    return isinstance(values, list) and isinstance(key, int) and key < len(values)


def _sentence(detail: ErrorDetails) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _TYPES:
        return f"is {_with_type(value)}; {_TYPES[kind]} is needed{_quoted_number(value, kind)}"
    if kind in _SENTENCES:
        return _SENTENCES[kind](value, context)
    return detail["msg"].removeprefix("Value error, ")


def _with_type(value: object) -> str:
    return f"{shown(value)} (a text)" if isinstance(value, str) else shown(value)


def _quoted_number(value: object, kind: str) -> str:
    if not (isinstance(value, str) and kind in {"int_type", "float_type"}):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return "; remove the quotes"


def _bound(words: str, key: str) -> Callable[[object, dict[str, Any]], str]:
    return lambda value, context: f"is {shown(value)}; it must be {words} {context[key]:g}"


def _choice(value: object, context: dict[str, Any], key: str = "expected") -> str:
    allowed = context[key].replace(" or ", ", ").replace("'", "")
    return f"is {shown(value)}; allowed: {allowed}{did_you_mean(value, allowed.split(', '))}"


_SENTENCES: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "missing": lambda _value, _context: "missing; it is required",
    "greater_than": _bound("greater than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "literal_error": _choice,
    "union_tag_invalid": lambda value, context: "kind " + _choice(value["kind"], context, "expected_tags"),
    "union_tag_not_found": lambda _value, _context: "kind is missing; it is required",
    "string_pattern_mismatch": lambda value, context: f"is {shown(value)}; it must match {context['pattern']}",
    "string_too_short": lambda _value, _context: "is empty; a text is needed",
    "too_short": lambda _value, context: f"has too few entries; at least {context['min_length']}",
    "too_long": lambda _value, context: f"has too many entries; at most {context['max_length']}",
    "invalid_key": lambda value, _context: f"{shown(value)} is no text; a key must be one (quote it)",
}


def _is_unknown(detail: ErrorDetails) -> bool:
    return detail["type"] == "extra_forbidden"


def _near_key(detail: ErrorDetails, model: type[BaseModel]) -> str:
    allowed = _allowed_keys(model, detail["loc"][:-1])
    return did_you_mean(detail["loc"][-1], allowed).removeprefix("; did you mean ").removesuffix("?")


def _unknown(detail: ErrorDetails, model: type[BaseModel]) -> str:
    allowed = _allowed_keys(model, detail["loc"][:-1])
    near = did_you_mean(detail["loc"][-1], allowed)
    return f"unknown key{near or '; allowed: ' + ', '.join(allowed)}"


def _allowed_keys(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Return the keys of the models at ``location``, sorted, following Pydantic's way through the annotations."""
    candidates: list[Any] = [model]
    for key in location:
        here = [part for candidate in candidates for part in _parts(candidate)]
        tagged = [
            part for part in here if isinstance(part, type) and issubclass(part, BaseModel) and _has_kind(part, key)
        ]
        candidates = tagged or [inner for part in here for inner in _inside(part, key)] or here
    models = [part for candidate in candidates for part in _parts(candidate) if isinstance(part, type)]
    return sorted({name for part in models if issubclass(part, BaseModel) for name in part.model_fields})


def _parts(annotation: Any) -> list[Any]:
    """Return the members of a union, without Annotated; the annotation itself where it is none."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [part for member in get_args(annotation) for part in _parts(member)]
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _parts(annotation.model_fields["root"].annotation)
    return [annotation]


def _inside(part: Any, key: str | int) -> list[Any]:
    if get_origin(part) is dict:
        return [get_args(part)[1]]
    if get_origin(part) in {tuple, list} and isinstance(key, int):
        return [get_args(part)[0]]
    if isinstance(part, type) and issubclass(part, BaseModel) and key in part.model_fields:
        return [part.model_fields[str(key)].annotation]
    return []


def _has_kind(part: type[BaseModel], tag: str | int) -> bool:
    kind = part.model_fields.get("kind")
    return kind is not None and get_origin(kind.annotation) is Literal and tag in get_args(kind.annotation)
