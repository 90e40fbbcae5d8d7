"""What the methods work with, and which of them can: the model, the encoders, and what was answered before.

Nothing is opened before it is used, or tried with `check`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from eval.partnet.config import MethodName, PartnetConfig
from eval.partnet.records import Said
from semquery.journal import Journal
from semquery.manifest import numbered_lines
from semquery.text import PictureEncoder, TextEncoder
from semquery.vlm import Answer, Vlm

ASKING: tuple[MethodName, ...] = ("cot", "flat", "whole-tree", "text-only", "hybrid")  # a model is asked for names
SPELLING: tuple[MethodName, ...] = ("cot", "flat", "whole-tree", "text-only", "true-names")  # names are encoded as texts
LOOKING: tuple[MethodName, ...] = ("clip-crop", "hybrid")  # pictures are encoded


@dataclass(frozen=True)
class Answers:
    """What a model answered about one object: a journal that only grows. Without a file nothing is remembered."""

    file: Path | None = None
    vlm: Vlm | None = None  # whose answers they are

    def answers(self) -> dict[str, Answer]:
        """Recorded answers by the content key of their request. Raises semquery's RunError for lines that are none."""
        return {} if self.file is None else Journal(self.file.parent).answers(self.file.name)

    def seconds(self) -> dict[str, float]:
        """How long each recorded answer took."""
        lines = [] if self.file is None else [line for _, line in numbered_lines(self.file)]
        return {line["key"]: float(line.get("seconds") or 0) for line in lines if "answer" in line}

    def append(self, key: str, answer: Answer, seconds: float) -> None:
        """On disk when this returns."""
        if self.file is not None and self.vlm is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            Journal(self.file.parent).append_answer(key, answer, self.vlm.identity, seconds, self.file.name)


@dataclass(frozen=True)
class Backends:
    """What a method may use."""

    vlm: Vlm
    encoder: TextEncoder
    picture_encoder: PictureEncoder | None
    config: PartnetConfig
    journal: Answers = Answers()  # of the object at hand
    earlier: Mapping[str, Said] = field(default_factory=dict)  # what other methods said of the object at hand

    @property
    def seed(self) -> int:
        return self.config.seed

    def about(self, file: Path | None, earlier: Mapping[str, Said] | None = None) -> "Backends":
        """The same for one object, whose answers are kept in a file (one JSON line each; any name, any folder)."""
        return replace(self, journal=Answers(file, self.vlm), earlier=earlier or {})


def backends_for(config: PartnetConfig) -> Backends:
    """What a configuration names, unopened. Raises ValueError for encoders whose folder is not there."""
    return Backends(config.vlm, config.encoder, picture_encoder_of(config), config)


def picture_encoder_of(config: PartnetConfig) -> PictureEncoder | None:
    """The encoder of pictures: the one given, or that of texts where it knows pictures; None where there is none."""
    given = config.picture_encoder or config.encoder
    return given if given.kind == "clip" else None  # the class alone does not tell: a HfText may be of either kind


def default_methods(config: PartnetConfig) -> tuple[MethodName, ...]:
    """All methods that can be run with what is given and say something new.

    `simulated` only runs when it is asked for, and `flat` where a model is asked: measured names know no ancestors.
    """
    left_out = {*refusals(config), "simulated", *(["flat"] if config.vlm.source == "rule" else [])}
    return tuple(name for name in get_args(MethodName) if name not in left_out)


def refusals(config: PartnetConfig) -> dict[str, str]:
    """Methods that cannot be run with what is given, and why."""
    found: dict[str, str] = {}
    if config.vlm.source == "rule":
        why = ("asks a model for names, and {} only measures parts that it is shown one by one: name a model "
               "(vlm:qwen-vl, vlm:open-ai-server, vlm:replay) or leave the method out.").format(type(config.vlm).__name__)
        found |= {name: f"The method {name} {why}" for name in ("whole-tree", "text-only")}
    if picture_encoder_of(config) is None:
        given = type(config.picture_encoder or config.encoder).__name__
        why = (f"compares pictures with words, and {given} as given knows words alone: take encoder:open-clip, encoder:hf-text with the "
               "folder of a CLIP or SigLIP, or one of these as --picture-encoder; or leave the method out.")
        found |= {name: f"The method {name} {why}" for name in LOOKING}
    return found


def check(config: PartnetConfig) -> list[str]:
    """Open what the methods need and try it; a line for each of what was found.

    Raises ValueError for a method that cannot be run with what is given, and for models that cannot be used.
    """
    from eval.partnet.methods.subject import OPTIONS
    from semquery.labelling import candidates_of

    methods, cannot = config.methods or default_methods(config), refusals(config)
    for name in methods:
        if name in cannot:
            raise ValueError(cannot[name])
    backends, lines = backends_for(config), []
    if set(methods) & set(ASKING):
        candidates_of(config.label, lambda part: (), OPTIONS)  # says what is wrong with a list of names
        lines.append(f"names: {backends.vlm.check()}")
    if set(methods) & set(SPELLING):
        lines.append(f"words: {backends.encoder.check()}")
    if set(methods) & set(LOOKING) and backends.picture_encoder is not None:
        lines.append(f"pictures: {backends.picture_encoder.check()}")
    return lines
