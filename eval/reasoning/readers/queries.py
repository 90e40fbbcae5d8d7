"""Queries of the published sets: who asks what of which scene, and which of its points are meant.

Conventions
  Every set is a JSON list of flat objects, and differs in the names of their keys and in what its numbers mean:
    class      the points whose SEMANTIC label is object_id. Reason3D is evaluated so: a question about one chair is
               answered right only by all chairs. Numbers on it say how well classes are found, not things.
    instances  the union of the instances that object_id numbers, one or a list.
  No question is asked twice of a scene under one id: an id is SCENE/ROW, the row of the file.
  The files were not at hand: keys are as the sets' loaders use them. `3d-reasonseg` has not been released; its dialect is
  that of the paper's examples.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool

from eval.reasoning.readers.scenes import SceneLabels

Target = Literal["class", "instances"]
DialectName = Literal["reason3d", "instruct3d", "intent3d", "vg-without-names", "3d-reasonseg", "surprise3d"]


@dataclass(frozen=True)
class Dialect:
    """How one set writes its queries down."""

    title: str
    target: Target
    text: tuple[str, ...]  # keys of the query, the first that is there
    kind: str = ""  # key of the kind of question; "" = all are of one kind

    @property
    def truth(self) -> str:
        """One sentence for a report."""
        if self.target == "class":
            return "The truth is a CLASS mask: all points whose semantic label is object_id, not the one thing that is meant."
        return "The truth is the union of the instances that object_id numbers."


DIALECTS: dict[DialectName, Dialect] = {
    "reason3d": Dialect("Reason3D", "class", ("question",), "type"),
    "instruct3d": Dialect("Instruct3D", "instances", ("description", "question")),
    "intent3d": Dialect("Intent3D", "instances", ("description", "utterance")),
    "vg-without-names": Dialect("VG-w/o-ON (ScanRefer without object names)", "instances", ("description",)),
    "3d-reasonseg": Dialect("3D ReasonSeg", "instances", ("question", "query", "description")),
    "surprise3d": Dialect("Surprise3D", "instances", ("description", "question"), "question_type"),
}


@dataclass(frozen=True)
class ReasoningQuery:
    """One query with a known answer."""

    id: str  # SCENE/ROW
    scene: str
    query: str
    kind: str
    target: Target
    numbers: tuple[int, ...]  # the class, or the instances, that are meant
    name: str = ""  # what the set calls it

    def is_target(self, labels: SceneLabels) -> Bool[np.ndarray, " n"]:
        """Which points are meant. Raises ValueError where the scene has no such labels, or no point of the target."""
        field = "semantic" if self.target == "class" else "instance"
        label = getattr(labels, field)
        if label is None:
            raise ValueError(f"{labels.source} has no {field} labels, which {self.id} needs.")
        meant = np.isin(label, self.numbers)
        if not meant.any():
            raise ValueError(f"No point of {labels.source} has the {field} label {self._numbers}, which {self.id} means; "
                             "the scene and the queries are of different versions.")
        return meant

    @property
    def _numbers(self) -> str:
        return ", ".join(map(str, self.numbers))


def read_queries(path: Path, dialect: DialectName) -> tuple[ReasoningQuery, ...]:
    """The queries of a file. Raises ValueError that names the row and the key that is missing or strange."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}; give the JSON of {DIALECTS[dialect].title}.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); expected a list of objects.") from error
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path} holds no list of queries; expected [{{\"scene_id\": …, \"object_id\": …}}, …].")
    return tuple(_query(row, number, dialect, path) for number, row in enumerate(rows))


def _query(row: Mapping, number: int, dialect: DialectName, path: Path) -> ReasoningQuery:
    says, where = DIALECTS[dialect], f"{path}, row {number}"
    scene = str(_value(row, ("scene_id",), where))
    text = " ".join(str(_value(row, says.text, where)).split())
    if not text:
        raise ValueError(f"{where} asks nothing: {says.text[0]} is empty.")
    kind = str(_value(row, (says.kind,), where)) if says.kind else dialect
    numbers = _numbers(_value(row, ("object_id",), where), where)
    if says.target == "class" and len(numbers) != 1:
        raise ValueError(f"{where} has {len(numbers)} object_ids; {says.title} means one class a query.")
    return ReasoningQuery(f"{scene}/{number}", scene, text, kind, says.target, numbers, str(row.get("object_name", "")))


def _value(row: Mapping, keys: Sequence[str], where: str) -> object:
    """The value of the first key that is there."""
    if not isinstance(row, Mapping):
        raise ValueError(f"{where} is a {type(row).__name__}; expected an object with {keys[0]}.")
    for key in keys:
        if key in row:
            return row[key]
    raise ValueError(f"{where} has no {' or '.join(keys)}; it has {', '.join(sorted(map(str, row)))}.")


def _numbers(value: object, where: str) -> tuple[int, ...]:
    """object_id as it comes: a number, digits, or a list of either."""
    values = value if isinstance(value, list) else [value]
    try:
        if any(isinstance(v, bool) or (isinstance(v, float) and not v.is_integer()) for v in values):
            raise ValueError
        numbers = tuple(dict.fromkeys(int(v) for v in values))
    except (TypeError, ValueError):
        raise ValueError(f"{where} has the object_id {value!r}; expected a number or a list of numbers.") from None
    if not numbers:
        raise ValueError(f"{where} has an empty object_id; expected at least one number.")
    return numbers
