"""What comes in from a program: texts, numbers and directions, tried before any work is done.

Everything raises ValueError with what was met and what is expected, whatever the type of what came.
"""

import operator
from typing import Any

import numpy as np
from jaxtyping import Float64


def checked_text(text: Any, what: str = "query") -> str:
    """A text that can be written down. Raises ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"A {what} is a text, such as “left drawer”; got {_met(text)}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"The {what} holds bytes that are no text ({text[error.start:error.end][:8]!r} at character {error.start + 1}); write it in UTF-8.") from error
    return text


def checked_count(count: Any, what: str = "top") -> int | None:
    """A whole number from 1, or None. Raises ValueError for anything else."""
    number = None if count is None else _whole(count)
    if count is not None and (number is None or number < 1):
        raise ValueError(f"{what} is how many answers are wanted at most, 1 or more; got {_met(count)}.")
    return number


def checked_number(part: Any, num_parts: int) -> int:
    """The number of a part. Raises ValueError for anything else."""
    number = _whole(part)
    if number is None:
        raise ValueError(f"A part is asked for by its number, 0 to {num_parts - 1}; got {_met(part)}. Names are looked up with query(…), or in scene.parts.")
    if not 0 <= number < num_parts:
        raise ValueError(f"There is no part {number}: parts are numbered 0 to {num_parts - 1}.")
    return number


def checked_axis(axis: Any, name: str) -> Float64[np.ndarray, " 3"] | None:
    """A direction, of any length, or None. Raises ValueError for anything else."""
    if axis is None:
        return None
    try:
        direction = np.asarray(axis, np.float64)
    except (TypeError, ValueError):
        direction = np.full(0, np.nan)
    if direction.shape != (3,) or not np.isfinite(direction).all() or not direction.any():
        raise ValueError(f"{name} is a direction, three numbers x y z that are not all 0, such as (0, 0, 1); got {_met(axis)}.")
    return direction


def _whole(number: Any) -> int | None:
    try:
        return None if isinstance(number, bool) else operator.index(number)
    except TypeError:
        return None


def _met(value: Any) -> str:
    """What came, cut short, and its type."""
    return f"{repr(value)[:60]} ({type(value).__name__})"
