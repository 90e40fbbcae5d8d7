"""What needs no model: the ceilings (oracle, true names), the floors (everything, chance), and names with known errors."""

import hashlib
import time
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32

from eval.metrics.naming import simulated as simulated_rights
from eval.partnet.methods.backends import Backends
from eval.partnet.methods.relevancy import relevancy_of_labels
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, Cost, PartObject, Said, normalised, paths_of
from semquery.prompts import bank
from semquery.types import NodeLabel


def true_names(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """Every node by its true name through the encoder: no labeller can find more by names that are right."""
    start, names = time.monotonic(), shown.thing.names
    labels = {node: NodeLabel(node, name) for node, name in enumerate(names)}
    found = relevancy_of_labels(labels, len(names), asked, backends.encoder, "name", backends.config.temperature)
    return Said(found, names, ((),) * len(names), (1.0,) * len(names), Cost(failed=names.count(""), seconds=time.monotonic() - start))


def oracle(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """r = 1 for the nodes that a query means, 0 for all others."""
    return Said({each.kind: each.positive.astype(np.float32) for each in asked})


def retrieve_all(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """r = 1 for everything."""
    return Said({each.kind: np.ones(each.positive.shape, np.float32) for each in asked})


def chance(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """r drawn evenly from 0..1, by the seed and the object's id."""
    draw = draws(backends.seed, shown.thing.id, "random")
    return Said({each.kind: draw.random(each.positive.shape, np.float32) for each in asked})


def simulated(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """True names, some of them replaced by wrong ones, more often below a wrong parent (`config.simulated`); r = 1 for what is said."""
    thing = shown.thing
    draw = draws(backends.seed, thing.id, "simulated")
    right = simulated_rights(thing.parents, *backends.config.simulated, draw)
    names = _replaced(thing.names, right, draw)
    found = {each.kind: _says(thing, names, each) for each in asked}
    return Said(found, names, ((),) * len(names), (1.0,) * len(names))


def draws(seed: int, id: str, what: str) -> np.random.Generator:
    """A source of chance of its own for every object and purpose, the same on every machine."""
    return np.random.default_rng(list(hashlib.sha256(f"{seed}\0{id}\0{what}".encode()).digest()))


def _replaced(names: tuple[str, ...], right: Bool[np.ndarray, " p"], draw: np.random.Generator) -> tuple[str, ...]:
    """Wrong names are other names of the object; of an object of one name, generic ones."""
    others = {name: sorted(set(names) - {name}) or sorted(set(map(normalised, bank())) - {name}) for name in names}
    return tuple(name if ok else str(draw.choice(others[name])) for name, ok in zip(names, right, strict=True))


def _says(thing: PartObject, names: tuple[str, ...], asked: Asked) -> Float32[np.ndarray, "p k"]:
    """1 where a node says what a query asks for, in the form of the query's kind."""
    told = {"path": paths_of(replace(thing, scene=replace(thing.scene, names=names))),
            "phrase": tuple(f"{name} of a {normalised(thing.category)}" for name in names)}.get(asked.kind, names)
    return np.array([[text == query for query in asked.texts] for text in told], np.float32).reshape(len(names), -1)
