"""A run directory as a scene that is read once and asked by names and by questions; thread-safe."""

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from semquery.ask import AskAnswer, AskConfig, Subject, ask
from semquery.labelling import Asker
from semquery.opened.doors import checked_axis, checked_count, checked_text
from semquery.opened.found import Found, Shapes
from semquery.phrases import Phrase, is_plain
from semquery.query import QueryConfig, Searcher
from semquery.query.matching import checked
from semquery.relations import Frame, Places, frame_of, places
from semquery.spans import Spans, best_above
from semquery.store import Run, RunError
from semquery.text import PictureEncoder, TextEncoder, encoder_from
from semquery.types import Cameras, Codebook, NodeLabel, PartTree, Surface
from semquery.views import photo_of
from semquery.vlm import Answer, Vlm

ASKS = "asks.jsonl"  # a run's journal of what models answered to questions and queries


@dataclass(frozen=True)
class Answered:
    """What answers a question, and where it is."""

    answer: AskAnswer  # what was answered and how that was come to, plain data
    scene: "Scene" = field(repr=False, compare=False)

    @property
    def targets(self) -> tuple[Found, ...]:
        """The parts that are meant, each with its points, box and masks; none where the scene has none or nobody could tell."""
        return tuple(self.scene.part(part) for part in self.answer.targets)

    @property
    def anchors(self) -> tuple[Found, ...]:
        """The parts that told which are meant."""
        return tuple(self.scene.part(part) for part in self.answer.anchors)

    @property
    def sure(self) -> float:
        """0..1; where that number is from says `answer.sure_by`."""
        return self.answer.sure

    def explain(self) -> str:
        """Why these, or why there is no answer."""
        return self.answer.explanation or self.answer.failed


class Scene:
    """Everything that answering takes, read once. Made by `Scene.open`."""

    def __init__(
        self, surface: Surface, tree: PartTree, labels: Mapping[int, NodeLabel], book: Codebook, cameras: Cameras,
        encoder: TextEncoder | None = None, config: QueryConfig = QueryConfig(),
        up: Sequence[float | int] | None = None, front: Sequence[float | int] | None = None,
        supporting: Sequence[str] | None = None, recorded: Mapping[str, Answer] | None = None, spans: Spans | None = None,
    ) -> None:
        """`encoder`: the one that made the codebook, which by default is made again as it was recorded. `supporting`: the views
        that the tree's supports count. `recorded`: what models answered to questions before, by the key of the request.
        `spans`: the tree laid out with the surface, where that is at hand."""
        self.surface, self.tree, self.labels, self.cameras, self.config = surface, tree, dict(labels), cameras, config
        self.shapes = Shapes(surface, tree, self.labels, spans or Spans(tree, surface))
        self.searcher = Searcher(tree, self.labels, book, encoder or encoder_from(book.encoder_config), config, _picture_encoder(book), self.shapes.spans)
        self._up, self._front = (checked_axis(axis, name) for axis, name in ((up, "up"), (front, "front")))
        self._placed: dict[str | None, Places] = {}
        self._supporting, self._recorded = None if supporting is None else tuple(supporting), dict(recorded or {})
        self._askers: dict[str, Asker] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, run: Run | Path | str, config: QueryConfig = QueryConfig(), encoder: TextEncoder | None = None,
        up: Sequence[float | int] | None = None, front: Sequence[float | int] | None = None,
    ) -> "Scene":
        """Read a run directory (or the config.yml in it).

        `up` and `front` (towards the viewer) are world directions, which say what above and left mean; by default they come
        from the cameras and from where most parts face. Raises RunError (a ValueError) where the run is not named or
        encoded yet, or its names are newer than its codebook; the message says what to run.
        """
        checked_axis(up, "up")  # before anything is read
        checked_axis(front, "front")
        opened = run if isinstance(run, Run) else Run(run)
        if not (opened / "labels.jsonl").exists():
            raise RunError(f"{opened.path} has no names to search yet. Name its parts with: semquery label {opened.path}")
        opened.need("codebook.npz")
        opened.check_current("encode")
        surface = opened.surface()
        return cls(surface, opened.parts(), opened.labels(), opened.codebook(), opened.cameras(), encoder, config, up, front,
                   supporting_views(opened, surface), opened.answers(ASKS))

    def renamed(self, labels: Mapping[int, NodeLabel], book: Codebook, encoder: TextEncoder) -> "Scene":
        """The same parts by other names, or by another codebook; where they are is not worked out again."""
        other = copy.copy(self)
        other.__dict__.pop("parts", None)  # by the names there were
        other.labels = dict(labels)
        other.shapes = Shapes(self.surface, self.tree, other.labels, self.shapes.spans)
        was = self.searcher.book
        pictures = self.searcher.matcher.pictures if book.picture_encoder_config == was.picture_encoder_config else None
        other.searcher = Searcher(self.tree, other.labels, book, encoder, self.config, pictures or _picture_encoder(book), self.shapes.spans)
        return other

    # ------------------------------------------------------------------ asking

    def query(self, text: str, top: int | None = None, view: str | None = None, phrase: Phrase | None = None) -> list[Found]:
        """What answers a query, best first; nothing where nothing in the scene is called so.

        `top`: at most so many, and no more than the configuration's. `view`: left, right, front and behind as seen in this
        view. `phrase`: the query as understood by somebody else. Raises ValueError for a query that cannot be read.
        """
        checked(checked_text(text))  # before the places are worked out
        most = checked_count(top)
        where = self.places(view) if self.asks_where(text, phrase) else None
        return [self.shapes.found(hit) for hit in self.searcher.find(text, where, phrase)[:most]]

    def asks_where(self, text: str, phrase: Phrase | None = None) -> bool:
        """Whether a query takes the places of parts to answer: it is no name, and more than a description of one part."""
        return not (is_plain(self.searcher.understood(text, phrase)) or self.searcher.is_a_name(text))

    def steps(self, text: str, view: str | None = None, phrase: Phrase | None = None) -> tuple[str, ...]:
        """What is done to answer a query that asks where parts are, in sentences; nothing for a name or a description."""
        if not self.asks_where(checked_text(text), phrase):
            return ()
        return self.searcher.resolution(self.searcher.understood(text, phrase), self.places(view)).steps

    def relevancy(self, text: str) -> Float32[np.ndarray, " p"]:
        """How well every part, or a part around it if that does better, fits a text, 0..1. Raises ValueError for a text that says nothing."""
        return best_above(np.array(self.searcher.match(checked(checked_text(text))).score, np.float32), self.tree.parents)

    def missing(self, text: str, view: str | None = None, phrase: Phrase | None = None) -> str:
        """Why a query finds nothing, in a sentence: what cannot be told, or what comes nearest and how likely it is to be meant."""
        understood = self.searcher.understood(checked_text(text), phrase)
        if not is_plain(understood):
            failed = self.searcher.resolution(understood, self.places(view)).failed
            if failed:
                return failed
        spelling = "" if self.searcher.matcher.encoder.kind != "lexical" else (
            " Names were compared by spelling, which knows no synonyms and no other language: semquery encode RUN encoder:… --overwrite takes a model that does.")
        return f"Nothing here is called anything like it; {self.searcher.closest_in_words(text)}{spelling}"

    def ask(self, question: str, vlm: Vlm | None = None, config: AskConfig = AskConfig(), view: str | None = None) -> Answered:
        """What answers a question of purpose ("what would I press to start it?").

        `vlm`: the model that is asked; without one the form of the question and the names decide, or it is said that they
        cannot. The same question to the same model is asked once. Nothing is written into the run. Raises ValueError for a
        question that cannot be read and for a model that does not answer.
        """
        return Answered(ask(checked_text(question, "question"), self.subject(view), None if vlm is None else self._asker(vlm), config), self)

    def subject(self, view: str | None = None) -> Subject:
        """What questions are about; left, right and behind as seen in a view, where one is named."""
        return Subject(self.surface, self.tree, self.cameras, self.searcher, self.places(view), self.photo(), self._supporting)

    # ------------------------------------------------------------------ parts

    @cached_property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """name → the parts that are called so, in the order of the alphabet."""
        called: defaultdict[str, list[int]] = defaultdict(list)
        for number, label in self.labels.items():
            if label.status != "failed" and number < self.tree.num_parts:
                called[label.name].append(number)
        return {name: tuple(sorted(called[name])) for name in sorted(called)}

    def part(self, number: int) -> Found:
        """A part by its number. Raises ValueError for a number that no part has."""
        return self.shapes.part(number)

    # ------------------------------------------------------------------ geometry

    @property
    def views(self) -> tuple[str, ...]:
        """The views that masks can be had for."""
        return tuple(self.surface.point_of_pixel)

    def frame(self, view: str | None = None) -> Frame:
        """What up, front and right are, and where that is known from (`origin`)."""
        return self.places(view).frame

    def places(self, view: str | None = None) -> Places:
        """Where every part is, in the axes of a frame; worked out once a view."""
        with self._lock:  # the second thread waits for the first rather than work it out again
            if view not in self._placed:
                frame = frame_of(self.surface, self.tree, self.cameras, self._up, self._front, view)
                self._placed[view] = places(self.surface, self.tree, frame)
            return self._placed[view]

    def photo(self) -> Callable[[str], UInt8[np.ndarray, "_ _ 3"]]:
        """view → its photo on white, read from where it was captured; painted from the surface where it is gone."""
        return photo_of(self.cameras, self.surface)

    def points_of(self, members: Sequence[int]) -> Int[np.ndarray, " k"]:
        """Rows of the surface that lie in the parts, increasing."""
        return self.shapes.points_of(members)

    def mask(self, members: Sequence[int], view: str) -> Bool[np.ndarray, "h w"]:
        """The pixels of a view that show the parts. Raises ValueError for a view that the scene does not have."""
        return self.shapes.mask(members, view)

    def masks(self, members: Sequence[int]) -> dict[str, Bool[np.ndarray, "_ _"]]:
        """view → mask, of the views that show the parts, the one that shows most first."""
        return self.shapes.masks(members)

    def _asker(self, vlm: Vlm) -> Asker:
        """One for each model, which remembers."""
        with self._lock:
            return self._askers.setdefault(vlm.identity, Asker(vlm, self._recorded, lambda key, answer, seconds: None))


def supporting_views(run: Run, surface: Surface) -> list[str] | None:
    """The views that the tree's supports count: those with masks and surface; None where that is not known."""
    return sorted(set(run.masked_views()) & set(surface.point_of_pixel)) or None


def _picture_encoder(book: Codebook) -> PictureEncoder | None:
    encoder = encoder_from(book.picture_encoder_config) if book.picture_encoder else None
    if encoder is not None and encoder.kind != "clip":  # the class alone does not tell: a HfText may be of either kind
        raise ValueError(f"The codebook's pictures are by {book.picture_encoder}, which encodes none. Make it anew: semquery encode RUN --overwrite")
    return encoder
