"""Small objects of known trees, shown small, and models that know or do not know what they see."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from eval.objects import SCENES
from eval.partnet.config import PartnetConfig, PictureConfig, PictureStyle
from eval.partnet.methods import Backends, backends_for
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, PartObject, Said, asked_of, atoms_of, object_of
from semquery.labelling import LabelConfig
from semquery.procedural import KnownScene
from semquery.vlm import Request, Scripted, Vlm

SMALL = PictureConfig(side=64, supersample=1, survey=48)
QUICK = LabelConfig(max_tokens=6, repairs=0, siblings=False, reconsider=False, copy_alike=False)
MODELS = ("cot", "flat", "whole-tree", "text-only")  # the methods that ask a model alone


@cache
def shown(name: str) -> Shown:
    """One of the procedural objects, in small pictures."""
    return Shown(object_of(SCENES[name](), name), SMALL)


def asked(name: str) -> tuple[Asked, ...]:
    return asked_of(shown(name).thing, ("wing", "tail fin"))


def config(**changes) -> PartnetConfig:
    return PartnetConfig(Path("objects"), **{"pictures": SMALL, **changes})


def backends(vlm: Vlm | None = None, **changes) -> Backends:
    """With a model in place of the configuration's."""
    found = backends_for(config(**changes))
    return found if vlm is None else replace(found, vlm=vlm)


def equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """The same numbers for every kind."""
    return a.keys() == b.keys() and all(np.array_equal(a[kind], b[kind]) for kind in a)


def without_seconds(said: Said) -> dict:
    """All that must be the same when the same is said again."""
    return {**said.__dict__, "relevancy": {k: v.tolist() for k, v in said.relevancy.items()}, "cost": replace(said.cost, seconds=0.0)}


def squares(member: np.ndarray, parents: list[int], names: tuple[str, ...], sides: list[float] | None = None) -> PartObject:
    """An object of unit squares in a row, of which each node holds those that `member` [p s] says; the last that holds one owns it."""
    num = member.shape[1]
    corners = np.array([(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)], np.float32)
    vertices = np.concatenate([corners * side + np.array([2 * k, 0, 0]) for k, side in enumerate(sides or [1.0] * num)]).astype(np.float32)
    faces = np.concatenate([np.array([(0, 1, 2), (0, 2, 3)]) + 4 * k for k in range(num)]).astype(np.int32)
    owner = np.array([np.flatnonzero(member[:, k])[0] for k in range(num)], np.int32).repeat(2)
    colors = np.tile(np.array([200, 40, 35], np.uint8), (2 * num, 1))
    thing = object_of(KnownScene(vertices, faces, colors, owner, np.array(parents, np.int32), names), "squares")
    holds, atom = atoms_of(member.repeat(2, axis=1))
    sizes = np.bincount(atom, np.repeat(np.square(sides or [1.0] * num) / 2, 2), holds.shape[1])
    return replace(thing, holds=holds, atom_of_face=atom, area=sizes)


def knowing(what: Shown, names: tuple[str, ...] = (), style: PictureStyle | None = None) -> Callable[[Request], dict]:
    """Knows each part, by its pictures, its place in words or its number, and says its name; in text where no JSON is asked for."""
    names, parts = names or what.thing.names, range(len(what.thing.parents))

    def answer(request: Request) -> dict | str:
        asked_for = {"name": None} if request.schema is None else request.schema["properties"]
        if "renamed" in asked_for:
            return {"thinking": "", "renamed": []}
        if "names" in asked_for:
            return {"thinking": "", "names": {number: names[int(number)] for number in asked_for["names"]["required"]}}
        images = next((turn.images for turn in reversed(request.turns) if turn.images), None)
        of = {what.pictures(part, style): part for part in parts} if images else {}
        assert len(of) in (0, len(parts)), "two parts look the same"
        name = names[of[images] if images else path_in_words(request, what.thing)]
        return node(name) if request.schema else f"**Thinking**: so\n**Label**: {name}"

    return answer


def node(name: str) -> dict:
    return {"thinking": "", "name": name, "synonyms": [], "function": "", "alternatives": [], "parent_suspect": False}


class Heard:
    """A script that is heard: what was asked, in order."""

    def __init__(self, script: Callable[[Request], object]) -> None:
        self.script, self.requests = script, list[Request]()

    def __call__(self, request: Request) -> object:
        self.requests.append(request)
        return self.script(request)

    @property
    def vlm(self) -> Scripted:
        return Scripted(self)


def path_in_words(request: Request, thing: PartObject) -> int:
    """The part that a conversation in words leads to, by the numbers that its questions give."""
    part = len(thing.parents) - 1
    for turn in [t for t in request.turns if t.text.startswith("This is a part")]:
        number = re.search(r"number (\d+) of its", turn.text)
        inside = [k for k in range(len(thing.parents) - 1) if thing.parents[k] == part]
        part = inside[int(number[1]) - 1 if number else 0]
    return part
