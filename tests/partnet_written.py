"""Evaluations as they lie on disk, of procedural objects and methods whose answers are known; nothing is rendered, no model is asked."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.objects import SCENES
from eval.partnet.numbers.scoring import score, write_results
from eval.partnet.records import Asked, Record, Said, asked_of, object_of
from eval.partnet.work.kept import read_records, write_record

NAMES = ("scissors", "lamp", "plate")
ABSENT = ("wing", "tail fin", "rudder")
METHODS = ("cot", "clip-crop", "oracle", "retrieve-all", "random")


def record_of(name: str, methods: Sequence[str] = METHODS, **changes: Any) -> Record:
    """A record of a procedural object: its atoms in the stripes of a small picture, what methods say by a rule of each."""
    thing = object_of(SCENES[name](), name)
    asked = asked_of(thing, ABSENT)
    num_atoms = thing.holds.shape[1]
    shown = np.full((32, 40), -1, np.int32)
    shown[4:28] = np.arange(40) * num_atoms // 40
    file = io.BytesIO()
    Image.fromarray(np.where(shown[..., None] < 0, 255, 90 + 5 * (shown[..., None] % 20)).repeat(3, 2).astype(np.uint8)).save(file, "PNG")
    record = Record(
        thing.id, thing.category, thing.model, thing.format, "raw", thing.ids, thing.names, thing.parents, thing.is_type, thing.holds,
        thing.area, thing.points, np.full(len(thing.names), 50), asked, {}, file.getvalue(), shown, seconds=1.5)
    record = replace(record, **changes)
    return replace(record, said={method: said_by(method, record) for method in methods})


def said_by(method: str, record: Record) -> Said:
    """What a method says: oracle and the floors as their names say; cot wrong in every third node; others by lot around the truth."""
    draw = np.random.default_rng(len(method) + len(record.names))
    if method == "oracle":
        return Said({asked.kind: asked.positive.astype(np.float32) for asked in record.asked})
    if method == "retrieve-all":
        return Said({asked.kind: np.ones(asked.positive.shape, np.float32) for asked in record.asked})
    if method != "cot":
        truth = 0.0 if method == "random" else 0.3
        return Said({a.kind: (0.7 * draw.random(a.positive.shape) + truth * a.positive).astype(np.float32) for a in record.asked})
    names = tuple(record.names[k - 1] if k % 3 == 1 else name for k, name in enumerate(record.names))
    return Said({asked.kind: _as_called(names, asked) for asked in record.asked}, names, ((),) * len(names), (0.9,) * len(names))


def _as_called(names: Sequence[str], asked: Asked) -> np.ndarray:
    return np.array([[0.8 if name == text else 0.4 for text in asked.texts] for name in names], np.float32).reshape(len(names), -1)


def written(out: Path, records: Sequence[Record] | None = None, **changes: Any) -> dict[str, Any]:
    """Write records and results.json to a folder; what results.json holds, some of it changed."""
    records = [record_of(name) for name in NAMES] if records is None else records
    for record in records:
        write_record(out, record)
    methods = tuple(records[0].said)
    config = {"class": "PartnetConfig", "tree": "raw", "domain": "area", "temperature": 10.0, "vlm": {"class": "Appearance"}}
    results = {
        "version": 1, "config": config, "versions": {"python": "3.11"}, "prompts": {"node.md": "ab" * 32},
        "models": {"vlm": "Appearance", "encoder": None}, "predicted": None,
        "sample": {"seed": 0, "objects": [{"id": record.id, "sha256": f"{k:064x}"} for k, record in enumerate(records)]},
        **score(read_records(out), methods, bootstrap=60),
    }
    results = {**results, **changes}
    write_results(out, results)
    return results


def changed(results: Mapping[str, Any], id: str, method: str, **numbers: Any) -> dict[str, Any]:
    """The same with other numbers of one object and method."""
    objects = [entry if entry["id"] != id else {**entry, "methods": {**entry["methods"], method: {**entry["methods"][method], **numbers}}}
               for entry in results["objects"]]
    return {**results, "objects": objects}
