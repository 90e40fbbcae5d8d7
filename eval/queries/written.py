"""The written queries: reading them, their two halves, and whether a scene still has the parts they speak of.

Numbers were tuned on the half "tuning" and are reported on the half "report".
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

SETS = Path(__file__).parent / "sets"
KINDS = ("name", "synonym", "purpose", "relation", "compound", "absent")
HALVES = ("tuning", "report")


@dataclass(frozen=True)
class Query:
    """A query and what answers it."""

    id: str
    text: str
    kind: str
    answer: tuple[int, ...]  # the parts that answer together; () where the scene has no such part
    also: tuple[tuple[int, ...], ...]  # other answers that are right
    half: str

    @property
    def accepted(self) -> tuple[tuple[int, ...], ...]:
        return (self.answer, *self.also)


@dataclass(frozen=True)
class QuerySet:
    """The queries of one scene."""

    scene: str
    queries: tuple[Query, ...]
    path_of_part: dict[int, str]  # names from the top down to the part, or their digest


def read_set(path: Path) -> QuerySet:
    """One scene's queries."""
    try:
        record = json.loads(path.read_text())
        queries = tuple(
            Query(q["id"], q["text"], q["kind"], tuple(q["answer"]), tuple(map(tuple, q["also"])), q["half"]) for q in record["queries"])
        return QuerySet(record["scene"], queries, {int(part): name for part, name in record["parts"].items()})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no query set ({type(error).__name__}: {error}); expected scene, parts and queries.") from error


def read_sets(scenes: Iterable[str]) -> list[QuerySet]:
    """The query sets of these scenes; ValueError for a scene without one."""
    missing = [scene for scene in scenes if not (SETS / f"{scene}.json").is_file()]
    if missing:
        known = ", ".join(sorted(path.stem for path in SETS.glob("*.json")))
        raise ValueError(f"There are no queries for {missing[0]!r}; there are for {known}.")
    return [read_set(SETS / f"{scene}.json") for scene in scenes]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def half_of(queries: Sequence[tuple[str, str]], scene: str) -> dict[str, str]:
    """Half by id, of the (id, kind) of one scene: the ids of each kind, in the order of their digests, take turns."""
    halves = {}
    for kind in dict.fromkeys(kind for _, kind in queries):
        first = int(digest(f"{scene} {kind}"), 16) % 2
        ids = sorted((id for id, other in queries if other == kind), key=digest)
        halves |= {id: HALVES[(k + first) % 2] for k, id in enumerate(ids)}
    return halves


def path_of(part: int, parents: Int[np.ndarray, " p"], names: Sequence[str]) -> str:
    """The names from below the root down to the part, with slashes between; the root is its own path."""
    root, path = len(parents) - 1, [names[part]]
    while part != root and parents[part] != root:
        part = int(parents[part])
        path.append(names[part])
    return "/".join(path[::-1])


def check(queries: QuerySet, parents: Int[np.ndarray, " p"], names: Sequence[str]) -> None:
    """Raises ValueError where the scene's parts are not those that the answers were written for."""
    for part, recorded in queries.path_of_part.items():
        path = path_of(part, parents, names) if part < len(parents) else "no such part"
        if recorded not in (path, digest(path)[:12]):
            raise ValueError(f"{queries.scene}: part {part} was {recorded!r} when its queries were written and is {path!r} now. "
                             "Read the scene as it was, or write its answers anew.")
