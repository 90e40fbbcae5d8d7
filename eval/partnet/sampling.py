"""Which objects are evaluated: one of each model, by a seed, written down with hashes.

The protocol: of each model the annotation with the lowest id that can be read; of these, sorted by id, numpy's
default_rng(seed).choice of so many without replacement. That would open all 30 000 objects of PartNet to draw 100. So the same
choice is taken among the models, readable or not; those that cannot be read are replaced by the next of a random order of the
rest, and listed. Where all can be read that is the protocol's sample; else it is as even, as any order of all models is as
likely as any other.

Stratified: such an order within each category, and the categories, in a random order, take turns.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from eval.partnet.readers.find import files_of, names_of, read_object
from eval.partnet.readers.reference import Reference
from eval.partnet.records import PartObject, TreeKind

RULE = ("one annotation a model, the lowest id that can be read; models sorted by the lowest id; numpy default_rng(seed).choice without "
        "replacement; an unreadable one is replaced by the next of default_rng(seed)'s permutation of the rest")
STRATIFIED = "; within each category, and the categories take turns in a random order"
PIECE = 1 << 20  # bytes that are hashed at a time


@dataclass(frozen=True)
class Drawn:
    """An object of a sample."""

    id: str
    category: str
    model: str
    format: str
    sha256: str = ""  # over its files, see `fingerprint`


@dataclass(frozen=True)
class Broken:
    """An object that was drawn and cannot be read."""

    id: str
    why: str


@dataclass(frozen=True)
class Sample:
    """The objects that are evaluated, in the order of ids."""

    objects: tuple[Drawn, ...]
    references: tuple[Reference, ...]  # of each object
    seed: int
    num_objects: int  # as was asked for; fewer are here where there are not more
    stratified: bool
    tree: TreeKind
    num_found: int  # annotations there are
    num_models: int


# ------------------------------------------------------------------ drawing


def models(references: Sequence[Reference]) -> list[list[Reference]]:
    """The annotations of each model, lowest id first; models in the order of their lowest ids."""
    by_model: dict[tuple[str, str], list[Reference]] = {}
    for reference in sorted(references, key=lambda reference: reference.order):
        by_model.setdefault((reference.model, "") if reference.model else ("", reference.id), []).append(reference)
    return list(by_model.values())


def queues(references: Sequence[Reference], num_objects: int, seed: int, stratified: bool) -> list[list[list[Reference]]]:
    """Models in the order in which they are drawn: one queue, or one for each category, that take turns."""
    rng, found = np.random.default_rng(seed), models(references)
    if not stratified:
        return [_shuffled(found, num_objects, rng)]
    categories = sorted({model[0].category for model in found})
    return [_shuffled([model for model in found if model[0].category == categories[k]], num_objects, rng)
            for k in rng.permutation(len(categories))]


def _shuffled(found: list[list[Reference]], num_objects: int, rng: np.random.Generator) -> list[list[Reference]]:
    """The choice of the protocol, then all others in a random order."""
    chosen = rng.choice(len(found), min(num_objects, len(found)), replace=False)
    rest = rng.permutation(np.setdiff1d(np.arange(len(found)), chosen))
    return [found[k] for k in (*chosen, *rest)]


def in_turns(queues: Sequence[Sequence[list[Reference]]], accept: Callable[[list[Reference]], Reference | None]) -> Iterator[Reference]:
    """What is accepted of each model, from each queue in turn; a queue that offers nothing acceptable is passed on to its next."""
    waiting = [iter(queue) for queue in queues]
    while waiting:
        for queue in tuple(waiting):
            taken = next((found for found in map(accept, queue) if found), None)
            if taken is None:
                waiting.remove(queue)
            else:
                yield taken


def draw(references: Sequence[Reference], num_objects: int, seed: int, stratified: bool = False, tree: TreeKind = "raw") -> Sample:
    """The sample where every object can be read: nothing is opened, so it has no hashes."""
    chosen = _chosen(references, num_objects, seed, stratified, lambda model: model[0])
    objects = tuple(Drawn(reference.id, reference.category, reference.model, reference.format) for reference in chosen)
    return Sample(objects, tuple(chosen), seed, num_objects, stratified, tree, len(references), len(models(references)))


def draw_readable(
    references: Sequence[Reference], num_objects: int, seed: int, tree: TreeKind = "raw", stratified: bool = False,
    read: Callable[[Reference, TreeKind], PartObject] = read_object,
) -> tuple[Sample, tuple[Broken, ...]]:
    """(the sample of objects that can be read, with hashes, those that were drawn and cannot); raises ValueError where none can be read."""
    drawn: dict[Reference, Drawn] = {}
    broken: list[Broken] = []

    def readable(model: list[Reference]) -> Reference | None:
        for reference in model:
            try:
                thing = read(reference, tree)
                drawn[reference] = Drawn(reference.id, thing.category, thing.model, reference.format, fingerprint(reference))
                return reference
            except (ValueError, OSError, MemoryError) as error:
                why = str(error).replace(f"{reference.path.parent}{os.sep}", "")
                broken.append(Broken(reference.id, why or type(error).__name__))
        return None

    chosen = _chosen(references, num_objects, seed, stratified, readable)
    if not chosen:
        raise ValueError(f"None of {len(references)} objects can be read. The first: {broken[0].why}")
    objects = tuple(drawn[reference] for reference in chosen)
    return Sample(objects, tuple(chosen), seed, num_objects, stratified, tree, len(references), len(models(references))), tuple(broken)


def _chosen(
    references: Sequence[Reference], num_objects: int, seed: int, stratified: bool, accept: Callable[[list[Reference]], Reference | None]
) -> list[Reference]:
    """So many acceptable objects as they are drawn, in the order of ids."""
    if num_objects < 1 or not references:
        raise ValueError(f"Of {len(references)} objects {num_objects} cannot be drawn: ask for one or more, of a folder that holds some.")
    chosen = islice(in_turns(queues(references, num_objects, seed, stratified), accept), num_objects)
    return sorted(chosen, key=lambda reference: reference.order)


# ------------------------------------------------------------------ on disk


def fingerprint(reference: Reference) -> str:
    """SHA-256 over the names (without their folder), sizes and contents of an object's files; for a row of a table, its nodes' names."""
    row = names_of(reference, "raw") if reference.key else ()
    total = hashlib.sha256("\n".join([reference.key, *row]).encode("utf-8", "surrogatepass"))
    for path in sorted(files_of(reference)):
        name = path.relative_to(reference.path).as_posix() if path.is_relative_to(reference.path) and path != reference.path else path.name
        total.update(f"\n{name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                total.update(piece)
    return total.hexdigest()


def write_sample(path: Path, sample: Sample, broken: Sequence[Broken] = ()) -> None:
    """The sample as JSON: what was drawn, how, from how many, and what could not be read. Where the data lies is left out."""
    record = {"rule": RULE + STRATIFIED * sample.stratified} | asdict(sample) | {"broken": [asdict(one) for one in broken]}
    del record["references"]
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def read_sample(path: Path, references: Sequence[Reference]) -> tuple[Sample, tuple[Broken, ...]]:
    """What was written, of the objects at hand; raises ValueError where one is gone or has changed, or the file is broken."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        broken = tuple(Broken(**one) for one in record.pop("broken"))
        del record["rule"]
        sample = Sample(**record | {"objects": tuple(Drawn(**one) for one in record["objects"]), "references": ()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no sample ({type(error).__name__}: {error}). Delete it to draw anew.") from error
    by_id = {reference.id: reference for reference in references}
    for drawn in sample.objects:
        if drawn.id not in by_id:
            raise ValueError(f"The object {drawn.id} of {path} is not in the data. Give the folder it was drawn from, or another --out.")
        if drawn.sha256 and fingerprint(by_id[drawn.id]) != drawn.sha256:
            raise ValueError(f"The object {drawn.id} has changed since it was drawn into {path}. Fetch it again, or give another --out.")
    return replace(sample, references=tuple(by_id[drawn.id] for drawn in sample.objects)), broken
