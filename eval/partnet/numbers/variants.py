"""Other readings of the protocol: which nodes, which queries, which pairs count. The paper's text leaves them open.

Notation
  p nodes of the object, k queries of one kind; n nodes and q queries that a variant keeps.
Conventions
  `paper` is the protocol's own: every node, every distinct name, every pair. A variant changes one thing. A query that no kept
  node answers is left out; relevancies are never changed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from eval.partnet.records import Asked, Kind, Record, Said


@dataclass(frozen=True)
class Chosen:
    """What a variant keeps of an object."""

    kind: Kind
    nodes: Int64[np.ndarray, " n"]  # numbers of the kept nodes
    queries: Int64[np.ndarray, " q"]  # columns of the kind's queries; one may come more than once
    positive: Bool[np.ndarray, "n q"]
    counted: Bool[np.ndarray, "n q"]  # pairs that count in F1 and in rankings

    def relevancy(self, said: Said) -> Float32[np.ndarray, "n q"] | None:
        """The method's relevancy of the kept nodes for the kept queries; None where it was not asked queries of this kind."""
        found = said.relevancy.get(self.kind)
        return None if found is None else found[self.nodes][:, self.queries]


def chosen(record: Record) -> dict[str, Chosen]:
    """What every variant keeps, by its name."""
    return {name: choose(record) for name, choose in VARIANTS.items()}


def asked_for(record: Record, kind: Kind) -> Asked:
    """The queries of one kind. Raises ValueError where the object was not asked any."""
    for asked in record.asked:
        if asked.kind == kind:
            return asked
    raise ValueError(f"The record of {record.id} holds no queries of the kind {kind!r}; evaluate it anew with --overwrite.")


def _kept(record: Record, kind: Kind, keep: Bool[np.ndarray, " p"] | None = None) -> Chosen:
    nodes = np.arange(len(record.parents)) if keep is None else np.flatnonzero(keep)
    positive = asked_for(record, kind).positive[nodes]
    queries = np.flatnonzero(positive.any(0))
    positive = positive[:, queries]
    return Chosen(kind, nodes, queries, positive, np.ones_like(positive))


def _without_aliases(record: Record) -> Chosen:
    """A node of exactly the elements of one that is meant neither counts as wrong nor as right."""
    paper = _kept(record, "name")
    _, group = np.unique(np.packbits(record.holds, axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    meant = np.zeros((group.max() + 1, len(paper.queries)), bool)
    np.logical_or.at(meant, group, paper.positive)
    return Chosen("name", paper.nodes, paper.queries, paper.positive, paper.positive | ~meant[group])


def _by_instance(record: Record) -> Chosen:
    """One query a node: its name, and that node alone is meant; others of its name count as wrong."""
    paper = _kept(record, "name")
    own = np.eye(len(paper.nodes), dtype=bool)
    return Chosen("name", paper.nodes, paper.queries[paper.positive.argmax(1)], own, np.ones_like(own))


def _leaves(record: Record) -> Bool[np.ndarray, " p"]:
    leaves = np.ones(len(record.parents), bool)
    leaves[record.parents[:-1]] = False
    leaves[-1] = len(leaves) == 1
    return leaves


VARIANTS: dict[str, Callable[[Record], Chosen]] = {
    "paper": lambda record: _kept(record, "name"),
    "alias=ignore": _without_aliases,
    "positives=instance": _by_instance,
    "positives=path": lambda record: _kept(record, "path"),
    "root=off": lambda record: _kept(record, "name", np.arange(len(record.parents)) < len(record.parents) - 1),
    "leaves-only": lambda record: _kept(record, "name", _leaves(record)),
    "phrase": lambda record: _kept(record, "phrase"),
    "no-types": lambda record: _kept(record, "name", ~record.is_type),
}
