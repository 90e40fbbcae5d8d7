"""Seconds and peak memory of scoring many objects and methods whose answers are there already.

    python -m eval.bench.scoring                          100 objects × 9 methods
    python -m eval.bench.scoring --objects 1000           … more of them

Records are drawn by lot: trees as deep and as wide as PartNet's, names that repeat, relevancies in tenths of the truth and noise.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np

from eval.bench.peak import peak_mb
from eval.partnet.numbers.scoring import score, table
from eval.partnet.records import Asked, Cost, Record, Said

METHODS = ("cot", "flat", "whole-tree", "text-only", "clip-crop", "hybrid", "true-names", "random", "retrieve-all")
CATEGORIES = ("chair", "table", "lamp", "storage furniture", "microwave")


def simulated_records(num_objects: int, methods: Sequence[str] = METHODS, seed: int = 0) -> Iterator[Record]:
    """Records of drawn trees, one at a time; the first method is nearest to the truth, the last one furthest from it."""
    for k in range(num_objects):
        yield simulated_record(np.random.default_rng([seed, k]), str(k), methods)


def simulated_record(rng: np.random.Generator, id: str, methods: Sequence[str]) -> Record:
    """A tree of some 24 nodes (up to a few hundred), an atom a leaf, and what methods of falling skill say of it."""
    p = int(np.clip(rng.lognormal(3.0, 0.7), 3, 400))
    parents = np.array([rng.integers(k + 1, min(k + 2 + p // 3, p)) for k in range(p - 1)] + [p - 1], np.int32)
    holds = np.eye(p, dtype=bool)
    for node in range(p - 1):
        holds[parents[node]] |= holds[node]
    leaves = np.setdiff1d(np.arange(p), parents[:-1]) if p > 1 else np.zeros(1, int)
    names = tuple(f"part {rng.integers(0, 2 + p // 2)}" for _ in range(p))
    asked = _asked(names, parents)
    area = rng.lognormal(0, 2, len(leaves))
    said = {name: _said(rng, asked, names, 0.8 * (1 - rank / len(methods))) for rank, name in enumerate(methods)}
    category, ids = CATEGORIES[int(rng.integers(len(CATEGORIES)))], tuple(map(str, range(p)))
    return Record(
        id, category, id, "procedural", "raw", ids, names, parents, rng.random(p) < 0.05, holds[:, leaves], area,
        rng.multinomial(10_000, area / area.sum()), rng.integers(0, 4000, p), asked, said)


def _asked(names: Sequence[str], parents: np.ndarray) -> tuple[Asked, ...]:
    def of(kind: str, texts: Sequence[str]) -> Asked:
        distinct = tuple(dict.fromkeys(texts))
        return Asked(kind, distinct, np.array([[text == other for other in distinct] for text in texts], bool))
    missing = tuple(f"absent {k}" for k in range(20))
    return (of("name", names), of("path", [f"{names[parent]} {name}" for name, parent in zip(names, parents, strict=True)]),
            of("phrase", [f"{name} of a thing" for name in names]), Asked("absent", missing, np.zeros((len(names), len(missing)), bool)))


def _said(rng: np.random.Generator, asked: Sequence[Asked], names: tuple[str, ...], skill: float) -> Said:
    noisy = {one.kind: skill * one.positive + rng.random(one.positive.shape) * (1.2 - skill) for one in asked}
    relevancy = {kind: np.clip(values, 0, 1).astype(np.float32) for kind, values in noisy.items()}
    right = rng.random(len(names)) < skill
    return Said(relevancy, tuple(name if ok else "thing" for name, ok in zip(names, right, strict=True)), ((),) * len(names),
                tuple(rng.random(len(names)).tolist()), Cost(len(names), 2 * len(names), 400 * len(names), 30 * len(names), 0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--methods", type=int, default=len(METHODS), choices=range(1, len(METHODS) + 1))
    options = parser.parse_args()
    methods = METHODS[:options.methods]
    records = list(simulated_records(options.objects, methods))
    nodes = sum(len(record.parents) for record in records)
    start = time.perf_counter()
    results = score(records, methods)
    seconds = time.perf_counter() - start
    print(table(results))
    print(f"{options.objects} objects, {nodes} nodes, {len(methods)} methods: {seconds:.1f} s, "
          f"at most {peak_mb(lambda: score(records, methods)):.0f} MB beyond the records")


if __name__ == "__main__":
    main()
