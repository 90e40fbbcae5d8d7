"""Scenes to ask, and a stand-in for a model that reads nothing but the table and the pictures it is sent."""

import io
import json
import re
from dataclasses import dataclass, field

import numpy as np
from helpers import small_cameras, small_labels, small_parts, small_surface
from painted import Painted
from PIL import Image
from seeing import colors_in, outlined_region

from semquery.ask import Subject
from semquery.codebook import build_codebook
from semquery.labelling import Asker
from semquery.prompts import bank, negatives
from semquery.query import Searcher
from semquery.relations import frame_of, places
from semquery.text import Lexical
from semquery.types import Cameras, NodeLabel, PartTree, Surface
from semquery.views import repainted
from semquery.vlm import Answer, Request

ROW = re.compile(r"^(\d+) \| (?:“([^”]*)”|unnamed)", re.M)
PRIOR = re.compile(r"^- (\d+) (?:“([^”]*)”|unnamed): (anchor|candidate)", re.M)


def subject_of(surface: Surface, parts: PartTree, cameras: Cameras, labels: dict[int, NodeLabel], photo=None) -> Subject:
    encoder = Lexical()
    book = build_codebook(labels, encoder, negatives(), bank())
    seen = places(surface, parts, frame_of(surface, parts, cameras))
    return Subject(surface, parts, cameras, Searcher(parts, labels, book, encoder), seen, photo or (lambda view: repainted(surface, view)))


def small_subject(**names: str) -> Subject:
    """The hand-made scene; `p0="…"` calls part 0 otherwise."""
    labels = small_labels() | {int(p[1:]): NodeLabel(int(p[1:]), name) for p, name in names.items()}
    return subject_of(small_surface(), small_parts(), small_cameras(), labels)


def painted_subject(world: Painted, **called: str) -> Subject:
    """The painted room, each part called what it is; `left_leg="leg"` calls a part otherwise."""
    names = [called.get(name.replace(" ", "_"), name) for name in world.names]
    labels = {part: NodeLabel(part, name) for part, name in enumerate(names)}
    return subject_of(world.surface, world.parts, world.cameras, labels, lambda view: world.photos[view])


def asker_of(vlm, answers: dict | None = None, max_calls: int | None = None) -> Asker:
    answers = {} if answers is None else answers
    return Asker(vlm, answers, lambda key, answer, seconds: answers.__setitem__(key, answer), max_calls)


def is_first(request: Request) -> bool:
    return request.schema is not None and "relevant" in request.schema["properties"]


def table_in(request: Request) -> dict[int, str]:
    """id → name, of all rows that were sent."""
    return {int(number): name for turn in request.turns if turn.role == "user" for number, name in ROW.findall(turn.text)}


def asked_in(request: Request) -> str:
    return next(m[1] for turn in reversed(request.turns) if (m := re.search(r"The question is: “([^”]*)”", turn.text)))


@dataclass(frozen=True)
class Wanted:
    """What a question is after: parts called so, among them the one that has a colour, and what tells."""

    called: str
    anchors: tuple[str, ...] = ()
    color: tuple[int, int, int] | None = None


QUESTIONS = {
    "What would I pull to open the drawer?": Wanted("drawer knob", ("drawer", "desk")),
    "Which leg of the desk is green?": Wanted("leg", ("desk",), (0, 190, 80)),
    "Where can I play the piano?": Wanted("piano"),
}


@dataclass
class Reader:
    """Finds candidates and anchors in the table by their names, and tells candidates apart by the colours inside their outlines."""

    questions: dict[str, Wanted] = field(default_factory=lambda: dict(QUESTIONS))
    source: str = "vlm"
    identity: str = "Reader"
    asked: list[Request] = field(default_factory=list)

    def check(self) -> str:
        return "reads tables and colours"

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        text = json.dumps(self.said(request))
        return Answer(text, tokens=((text, -0.1),))

    def said(self, request: Request) -> dict:
        wanted, table = self.questions[asked_in(request)], table_in(request)
        candidates = [part for part, name in table.items() if name == wanted.called]
        if is_first(request):
            anchors = [part for part, name in table.items() if name in wanted.anchors]
            found = [{"part": p, "role": "candidate", "why": "called so"} for p in candidates] + [{"part": p, "role": "anchor", "why": "belongs to it"} for p in anchors]
            return {"thinking": f"a {wanted.called}", "relevant": found, "open": []}
        chosen = candidates if wanted.color is None else [p for p in candidates if self.has_color(request, p, wanted.color)]
        others = [{"part": p, "why": "another colour"} for p in candidates if p not in chosen]
        return {"thinking": "", "targets": chosen, "explanation": f"It is the {wanted.called}.", "rejected": others}

    def has_color(self, request: Request, part: int, color: tuple[int, int, int]) -> bool:
        """Whether the close-up of a part shows a colour inside its outline."""
        last = request.turns[-1]
        told = re.search(r"pictures show closely, one each, outlined in red: ([\d, ]+)", last.text)
        if told is None:
            return False
        order = [int(p) for p in told[1].split(",")]
        image = np.asarray(Image.open(io.BytesIO(last.images[len(last.images) - len(order) + order.index(part)])).convert("RGB")).astype(int)
        return colors_in(image, outlined_region(image), np.array([color])) == [0]
