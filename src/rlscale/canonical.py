"""One byte string for one value, and its digest.

Identities are digests of canonical JSON: sorted keys, no spaces, shortest floats that read back the same. A value
without a stable form (a set, a NaN, an object) is refused rather than spelled somehow.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence


def canonical_json(value: object) -> str:
    """Return the canonical JSON text of ``value``.

    Raises:
        TypeError: a value, or a mapping key, has no stable JSON form.
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(_checked(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _checked(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no canonical form")
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a canonical mapping has strings as keys")
        return {key: _checked(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_checked(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed from named parts, so that every random stream has its own and none depends on order."""
    return int.from_bytes(hashlib.blake2b(canonical_json(parts).encode(), digest_size=8).digest()) >> 1
