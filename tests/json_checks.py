"""What the tests of results ask of their JSON."""

import numpy as np


def only_json(value: object) -> bool:
    """Whether the value is made of JSON's own types, with finite numbers."""
    if type(value) is dict:
        return all(type(key) is str and only_json(item) for key, item in value.items())
    if type(value) is list:
        return all(only_json(item) for item in value)
    return value is None or type(value) in (str, int, bool) or (type(value) is float and bool(np.isfinite(value)))
