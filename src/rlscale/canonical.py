"""One byte string for one value, and its digest.

Identities are digests of canonical JSON: sorted keys, no spaces, shortest floats that read back the same. A value
without a stable form (a set, a NaN, an object) is refused rather than spelled somehow.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence


def canonical_json(value: object) -> str:
    """Return the canonical JSON text of ``value``.

    Raises:
        TypeError: a value, or a mapping key, has no stable JSON form.
        ValueError: a number is NaN or infinite.
    """
    _refuse_other_keys(value)
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
        )
    except ValueError as error:
        raise ValueError(f"a value has no canonical form: {error}") from None


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _refuse_other_keys(value: object) -> None:
    """Refuse keys that are no text, which JSON would spell somehow."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a canonical mapping has strings as keys")
        value = value.values()
    elif isinstance(value, str) or not isinstance(value, Sequence):
        return
    for item in value:
        if isinstance(item, Mapping | Sequence) and not isinstance(item, str):
            _refuse_other_keys(item)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed from named parts, so that every random stream has its own and none depends on order."""
    return int.from_bytes(hashlib.blake2b(canonical_json(parts).encode(), digest_size=8).digest()) >> 1
