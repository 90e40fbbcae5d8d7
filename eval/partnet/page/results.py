"""results.json read back: what eval.partnet.numbers.scoring wrote, with an error that says what is wrong where it is not that."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

VERSION = 1  # of results.json, as eval.partnet.numbers.scoring writes it
EXPECTED = ("config", "sample", "thresholds", "methods", "variants", "objects", "scores", "floors", "naming", "absent")
NAN = float("nan")
AGAIN = "run `python -m eval partnet` on its folder again"

Results = dict[str, Any]
Value = tuple[float, float, float]  # a number and the ends of its 95 % interval; nan where there is none


def read_results(path: Path) -> Results:
    """The numbers of an evaluation, from its folder or from its results.json.

    Raises ValueError where there are none, where the file is cut short or is something else, or is of another version.
    """
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"There is no {file}; give the --out of `python -m eval partnet`, after it has run to its end.")
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error}); it was cut short, perhaps: {AGAIN}.") from None
    if not isinstance(results, dict) or "version" not in results:
        raise ValueError(f"{file} is no results.json of `python -m eval partnet`: it does not say its version.")
    if results["version"] != VERSION:
        raise ValueError(f"{file} is of version {results['version']!r}, this program reads {VERSION}; {AGAIN}.")
    if lacking := [key for key in EXPECTED if key not in results]:
        raise ValueError(f"{file} has no {', '.join(lacking)}; it was not written by `python -m eval partnet`, or was changed since.")
    return results


def curve(values: list[float | None] | None) -> Float64[np.ndarray, " t"]:
    """A row of numbers; what JSON has as null is nan."""
    return np.array([NAN if value is None else value for value in values or ()], np.float64)


def span(entry: dict[str, Any] | float | None) -> Value:
    """A number with its interval, as it stands in the file; a bare number has none, null is nan."""
    if not isinstance(entry, dict):
        return (NAN if entry is None else float(entry)), NAN, NAN
    middle, low, high = (NAN if entry.get(key) is None else float(entry[key]) for key in ("value", "low", "high"))
    return middle, low, high


def at(entry: Any, *keys: str) -> Any:
    """What lies below these keys; None where one of them is missing or null."""
    for key in keys:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry
