"""Reasoning by a vision-language model, outlines by SAM: the model points with boxes and points, SAM turns them into masks.

Conventions
  The picture is sent as PNG, in `absolute` mode resized first (see coords.py). The score of a region is what the masks' source
  thinks of it (of SAM the predicted overlap with the truth) times the probability that the model gave to "visible", where it tells.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from semquery.pictures import png_bytes, resized
from semquery.prompts import fill, template
from semquery.segmenter.base import Context, Region, SegmenterError
from semquery.segmenter.coords import FACTOR, Mode, extent, in_words, smart_size, to_pixels
from semquery.segmenter.crops import with_embeddings
from semquery.segmenter.oracle import box_around, boxed
from semquery.segmenter.pointing import POINTING_SCHEMA, Pointing, Thing, pointing_from, probability_of_seeing
from semquery.segmenter.prompted import Found, by_regions, by_sam, regions_in
from semquery.segmenter.questions import ask, question, request
from semquery.text import HfText, OpenClip
from semquery.text.base import once
from semquery.vlm import OpenAiServer, QwenVl, Replay, Vlm

PROMPTS = ("point_system.md", "point.md", "repair.md")


@dataclass(frozen=True)
class GroundedSam:
    """A vision-language model reasons and points, SAM outlines."""

    vlm: QwenVl | OpenAiServer | Replay = OpenAiServer()
    """Who reasons: a Qwen model in this process, a server, or recorded answers."""
    coordinates: Mode = "absolute"
    """Numbers in which the model points: absolute (Qwen2.5-VL: pixels of the picture as it sees it), relative_1000 (Qwen3-VL: thousandths),
    original (pixels of the picture as it is). Boxes in the wrong place are the sign of a wrong choice."""
    min_pixels: int = 448 * 448
    """With absolute: smaller pictures are enlarged to this many pixels before they are sent; not below what the model itself enlarges to."""
    max_pixels: int = 1280 * 28 * 28
    """With absolute: larger pictures are reduced to this many pixels before they are sent; not above what the model itself reduces to."""
    masks: Literal["sam", "regions", "box"] = "sam"
    """Where masks come from: a SAM checkpoint; without weights regions of like colour that fit the box; or the box itself."""
    sam: str = ""
    """With masks sam: a SAM, SAM-HQ, SAM2 or SAM3 checkpoint's folder, or a name on the Hugging Face hub."""
    download: bool = False
    """Let the hub be asked for a SAM checkpoint that is not on this machine."""
    device: str = "auto"
    """Where SAM runs: auto (a GPU where there is one), cpu, cuda, cuda:1, ..."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of SAM's image encoder; auto = bfloat16 on GPUs that compute in it, float32 elsewhere."""
    encoder: OpenClip | HfText | None = None
    """Embeds what is in each mask, so that views can be weighed by what they agree on: a CLIP or SigLIP; None = no embeddings."""
    max_tokens: int = 1000
    """Longest answer, tokens."""
    repairs: int = 1
    """How often the model is asked again when its answer cannot be read."""

    def __post_init__(self) -> None:
        if not 0 < self.min_pixels <= self.max_pixels or self.max_tokens < 1 or self.repairs < 0:
            given = f"{self.min_pixels}, {self.max_pixels}, {self.max_tokens} and {self.repairs}"
            raise ValueError(f"Expected 0 < min-pixels ≤ max-pixels, max-tokens ≥ 1 and repairs ≥ 0; got {given}.")
        vlm = self.vlm
        if self.coordinates == "absolute" and isinstance(vlm, QwenVl) and not vlm.min_pixels <= self.min_pixels <= self.max_pixels <= vlm.max_pixels:
            raise ValueError(f"The model resizes pictures to {vlm.min_pixels} to {vlm.max_pixels} pixels; min-pixels and max-pixels are {self.min_pixels} "
                             f"and {self.max_pixels}, and must lie within, or its coordinates are of another picture than was sent.")

    @cached_property
    def identity(self) -> str:
        sized = f" {self.min_pixels}-{self.max_pixels} pixels" if self.coordinates == "absolute" else ""
        by = f"sam {checkpoint_identity(self.sam)} {self.precision}" if self.masks == "sam" else self.masks
        seen = "none" if self.encoder is None else self.encoder.identity
        asked = f"prompt={prompt_hash(PROMPTS)} tokens={self.max_tokens} repairs={self.repairs}"
        return f"GroundedSam {self.vlm.identity} {asked} {self.coordinates}{sized} masks={by} encoder={seen}"

    def check(self) -> str:
        """Open what is used and try the model. Raises ValueError."""
        by = str(self._sam) if self.masks == "sam" else {"regions": "regions of like colour", "box": "the boxes themselves"}[self.masks]
        seen = "" if self.encoder is None else f"; embeddings: {self.encoder.check()}"
        return f"pointing ({self.coordinates} coordinates): {self.vlm.check()}; masks: {by}{seen}"

    def segment(self, image: UInt8[np.ndarray, "h w 3"], query: str, context: Context = Context()) -> list[Region]:
        """The regions that answer the query. Raises SegmenterError."""
        said, sureness = self._pointing(self.vlm, image, query, context)
        if not said.things:
            return []
        found = zip(said.things, self._outlined(image, said.things), strict=True)
        regions = [_region(thing, mask, trust * sureness, said.reasoning) for thing, (mask, trust) in found if mask.any()]
        if not regions:
            raise SegmenterError(f"The model pointed at {len(said.things)} things, and none of them has a mask (masks: {self.masks}); "
                                 "it may have given points where boxes are needed.")
        return with_embeddings(regions, image, self.encoder)

    def _pointing(self, vlm: Vlm, image: np.ndarray, query: str, context: Context) -> tuple[Pointing, float]:
        """What the model points at, in pixels of the picture, and the probability that it is visible at all."""
        shown = self._shown(image)
        system = fill(template("point_system.md"), coordinates=in_words(self.coordinates, shown.shape[:2]))
        asked = request(question("point.md", query, context), png_bytes(shown), POINTING_SCHEMA, self.max_tokens, system)
        said, answer = ask(vlm, asked, pointing_from, self.repairs)
        try:
            things = [_scaled(thing, extent(self.coordinates, shown.shape[:2]), image.shape[:2]) for thing in said.things]
        except ValueError as error:
            raise SegmenterError(f"With {self.coordinates} coordinates {error}") from error
        return replace(said, things=tuple(things)), probability_of_seeing(answer.tokens)

    def _shown(self, image: np.ndarray) -> np.ndarray:
        """The picture as it is sent. Raises SegmenterError for one that is far too long and thin."""
        if self.coordinates != "absolute":
            return image
        try:
            return resized(image, smart_size(image.shape[:2], FACTOR, self.min_pixels, self.max_pixels))
        except ValueError as error:
            raise SegmenterError(str(error)) from error

    def _outlined(self, image: np.ndarray, things: tuple[Thing, ...]) -> list[Found]:
        size = image.shape[:2]
        if self.masks == "sam":
            return by_sam(self._sam, image, things)
        if self.masks == "regions":
            return by_regions(regions_in(image), things, size)
        return [(np.zeros(size, bool), 0.0) if thing.box is None else (boxed(size, thing.box), 1.0) for thing in things]

    @once
    def _sam(self) -> Any:
        from semquery.masks.checkpoint import open_checkpoint

        return open_checkpoint(self.sam, self.download, self.device, self.precision, 64)


def _scaled(thing: Thing, extent: tuple[float, float], size: tuple[int, int]) -> Thing:
    """A thing in pixels of the picture. Raises ValueError for coordinates far outside of it."""
    corners = [] if thing.box is None else [thing.box[:2], thing.box[2:]]
    rows = [tuple(map(float, row)) for row in to_pixels(np.array([*corners, *thing.points], np.float64), extent, size)]
    box = None if thing.box is None else (*rows[0], *rows[1])
    return replace(thing, box=box, points=tuple(rows[len(corners):]))


def _region(thing: Thing, mask: np.ndarray, score: float, reasoning: str) -> Region:
    points = np.array(thing.points, np.float32) if thing.points else None
    return Region(mask, score, thing.box or box_around(mask), points, text=reasoning, label=thing.label)


def checkpoint_identity(checkpoint: str) -> str:
    """What decides a SAM checkpoint's answers: its name, weights and configuration, wherever it lies."""
    from semquery.masks import Sam

    known = Sam(checkpoint=checkpoint).identity()
    return " ".join(str(known[key]) for key in ("checkpoint", "weights", "config") if key in known) if Path(checkpoint).is_dir() else checkpoint


def prompt_hash(names: tuple[str, ...]) -> str:
    """Of the templates that a question is made of."""
    return hashlib.sha256("\0".join(template(name) for name in names).encode()).hexdigest()[:12]
