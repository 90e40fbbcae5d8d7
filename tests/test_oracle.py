"""A model that knows every part by its colour names the whole tree from the pictures: the right part, in the right parent, was shown."""

import json
from dataclasses import replace

import numpy as np
import pytest
from painted import demo, painted, swapped
from PIL import Image
from seeing import Oracle
from stub_server import StubServer, images_of, text_of

from semquery import stages
from semquery.facts import measure, up_direction
from semquery.labelling import Asker, LabelConfig, Subject, label_parts
from semquery.portraits import PortraitConfig, portraits
from semquery.sightings import sightings
from semquery.store import Run
from semquery.types import MergeTree
from semquery.vlm import OpenAiServer, Request, Turn

VISIBLE = 30  # pixels
SIDE = 256  # of pictures: half the usual, for speed


def subject(world, config: PortraitConfig) -> Subject:
    draw = portraits(world.surface, world.parts, world.cameras, lambda view: world.photos[view], config)
    pixels = sightings(world.surface, world.parts, world.cameras).pixels.max(0)
    facts = measure(world.surface, world.parts, up_direction(world.cameras.T_world_cam))
    return Subject(world.parts, facts, draw, dict(enumerate(pixels.tolist())))


def names_by(oracle: Oracle, about: Subject, paper: bool = False, workers: int = 1) -> list[str]:
    # look-alikes keep names of their own here: two legs of different colours have different names
    config = LabelConfig(style="paper" if paper else "default", copy_alike=False)
    labels = label_parts(about, Asker(oracle, {}, lambda *_: None), config, workers=workers)
    return [labels[part].name for part in range(about.parts.num_parts)]


@pytest.mark.parametrize(("style", "paper", "workers"), [("outlined", False, 1), ("outlined", False, 4), ("black", True, 1)])
def test_who_knows_the_colours_names_every_part(style, paper, workers):
    world = painted()
    about, oracle = subject(world, PortraitConfig(style, side=SIDE)), Oracle(world)
    assert len(world.names) == 18 and min(about.pixels.values()) >= VISIBLE
    assert names_by(oracle, about, paper, workers) == list(world.names)
    assert max(len([t for t in request.turns if t.images]) for request in oracle.asked) == 4  # room, cupboard, door, handle


def test_behind_a_server_it_names_every_visible_part_of_the_demos_tree():
    world = demo()
    about, oracle = subject(world, PortraitConfig(side=2 * SIDE)), Oracle(world)
    visible = [part for part, pixels in about.pixels.items() if pixels >= VISIBLE]
    with StubServer(lambda body: answered(oracle, body), latency=0.0) as server:
        names = names_by(OpenAiServer(server.url, "oracle"), about, workers=2)
    assert len(visible) >= 40
    assert [(world.names[part], names[part]) for part in visible if names[part] != world.names[part]] == []


def answered(oracle: Oracle, body: dict) -> dict:
    """The oracle's answer with all that the schema wants."""
    said = json.loads(oracle(request_of(body)).text)
    return said if "renamed" in said else said | {"synonyms": [], "function": "", "alternatives": [], "parent_suspect": False}


def request_of(body: dict) -> Request:
    """What a server was sent, as it was asked for."""
    turns = [Turn(m["role"], text_of(m), tuple(images_of({"messages": [m]}))) for m in body["messages"]]
    return Request(tuple(turns), schema=body["response_format"]["json_schema"]["schema"])


@pytest.mark.parametrize(("style", "paper"), [("outlined", False), ("black", True)])
def test_a_mask_of_another_part_is_not_taken_for_the_right_one(style, paper):
    world = painted()
    wrong = swapped(world, "left leg", "foot")  # each is shown by the other's mask
    names = names_by(Oracle(world), subject(wrong, PortraitConfig(style, side=SIDE)), paper)
    true = dict(zip(world.names, names, strict=True))
    assert true["left leg"] != "left leg" and true["foot"] != "foot"
    assert true["crown"] == "crown" and true["handle"] == "handle"  # what has nothing to do with them is still right


def test_a_part_shown_in_the_wrong_parent_is_not_recognised():
    world = painted()
    about, at = subject(world, PortraitConfig(side=SIDE)), world.names.index
    others = {at("door"): at("drawer"), at("drawer"): at("door")}
    names = names_by(Oracle(world), replace(about, pictures=lambda part: about.pictures(others.get(part, part))))
    true = dict(zip(world.names, names, strict=True))
    assert true["handle"] == true["drawer knob"] == "unknown"  # their own pictures are right
    assert true["desk"] == "desk" and true["pole"] == "pole"


def test_a_picture_too_few_or_one_of_something_else_is_noticed():
    world = painted()
    about, oracle = subject(world, PortraitConfig(side=SIDE)), Oracle(world)
    knob, pole = world.names.index("drawer knob"), world.names.index("pole")
    assert oracle.part_in(about.pictures(knob)) == knob
    assert oracle.part_in(about.pictures(knob) + about.pictures(pole)) is None
    assert oracle.part_in(()) is None


def test_the_command_shows_the_same_pictures_from_files(tmp_path):
    world, run = painted(), Run(tmp_path / "run", create=True)
    for view, photo in world.photos.items():
        Image.fromarray(photo).save(tmp_path / f"{view}.png")
    run.write_cameras(replace(world.cameras, images=tuple(str(tmp_path / f"{view}.png") for view in world.cameras.names)))
    run.write_surface(world.surface)
    merge = MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32))  # labels need none
    run.write_tree(merge, np.array([[0, 1]]), np.array([0.5]), world.parts)
    labels = stages.label(run, Oracle(world), LabelConfig(copy_alike=False), pictures=PortraitConfig(side=SIDE))
    assert [labels[part].name for part in range(len(world.names))] == list(world.names)
