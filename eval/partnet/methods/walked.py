"""The product's own labeller on the true tree: depth first in the context of all ancestors (cot), or each part by itself (flat)."""

import time
from collections.abc import Mapping
from dataclasses import replace

from eval.partnet.methods.asking import CountedAsker
from eval.partnet.methods.backends import Backends
from eval.partnet.methods.relevancy import relevancy_of_labels
from eval.partnet.methods.subject import subject_of
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, Cost, Said
from semquery.labelling import LabelConfig, label_parts
from semquery.labelling.answers import is_named
from semquery.types import NodeLabel


def cot(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """Depth first, with the pictures and answers of all ancestors, and the passes that are switched on."""
    return _walked(shown, asked, backends, backends.config.label)


def flat(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """Every part alone: its own pictures and measurements, no ancestors, no passes."""
    return _walked(shown, asked, backends, replace(backends.config.label, ancestors="none").without_passes)


def _walked(shown: Shown, asked: tuple[Asked, ...], backends: Backends, label: LabelConfig) -> Said:
    """Raises Unreachable when the model is away."""
    start, asker = time.monotonic(), CountedAsker(backends.vlm, backends.journal)
    labels = label_parts(subject_of(shown, backends, label), asker, label)
    return said_of(labels, asked, backends, asker, start)


def said_of(labels: Mapping[int, NodeLabel], asked: tuple[Asked, ...], backends: Backends, asker: CountedAsker, start: float) -> Said:
    """What a method says that gave every node a label, begun at `start` (time.monotonic)."""
    told = [labels[node] for node in range(len(labels))]
    names = tuple(label.name if is_named(label) else "" for label in told)
    relevancy = relevancy_of_labels(labels, len(told), asked, backends.encoder, backends.config.index, backends.config.temperature)
    cost: Cost = asker.cost(names.count(""), time.monotonic() - start)
    return Said(relevancy, names, tuple(label.synonyms if name else () for label, name in zip(told, names, strict=True)),
                tuple(label.confidence if name else 0.0 for label, name in zip(told, names, strict=True)), cost)
