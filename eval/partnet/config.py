"""Every choice of the PartNet evaluation: those that change numbers, and those that only change how fast."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eval.partnet.records import TreeKind
from semquery.labelling import LabelConfig
from semquery.text import ENCODERS, HfText, Lexical, OpenClip
from semquery.vlm import Appearance, OpenAiServer, QwenVl, Replay

MethodName = Literal[
    "cot", "flat", "whole-tree", "text-only", "clip-crop", "hybrid", "true-names", "oracle", "retrieve-all", "random", "simulated"]
VLMS = Appearance | QwenVl | OpenAiServer | Replay
PictureStyle = Literal["outline", "fade_zoom", "black_crop", "black"]


def expect(*options: tuple[str, object, str, bool]) -> None:
    """Raise ValueError that names each of these (option, value, what is expected, whether it is that) that is not as expected."""
    if wrong := [f"--{name} is {value}; give {expected}." for name, value, expected, good in options if not good]:
        raise ValueError(" ".join(wrong))


@dataclass(frozen=True)
class PictureConfig:
    """How a node is shown."""

    style: PictureStyle = "outline"
    """outline: the whole with the node outlined, then a close-up; fade_zoom: a close-up with all else faded; black_crop: the node
    alone on black, cut out; black: the node alone in the full black frame (the published method)."""
    side: int = 448
    """Width and height of each picture, pixels."""
    supersample: int = 2
    """Rays along each side of a pixel."""
    survey: int = 128
    """Width and height of the 24 views in which it is looked up what shows a node best, pixels."""

    def __post_init__(self) -> None:
        expect(("pictures.side", self.side, "16 or more", self.side >= 16),
               ("pictures.survey", self.survey, "16 or more", self.survey >= 16),
               ("pictures.supersample", self.supersample, "1 or more", self.supersample >= 1))


@dataclass(frozen=True)
class PredictedConfig:
    """How a tree is found where none is given."""

    views: int = 48
    """Photos rendered of the object."""
    size: int = 128
    """Width and height of each, pixels."""
    steps: int = 400
    """Training steps of the feature field. 1000 are hardly better on objects of up to forty parts."""

    def __post_init__(self) -> None:
        expect(("predict.views", self.views, "2 or more", self.views >= 2), ("predict.size", self.size, "16 or more", self.size >= 16),
               ("predict.steps", self.steps, "1 or more", self.steps >= 1))


@dataclass(frozen=True)
class PartnetConfig:
    """Objects of known part trees: what each method calls their parts, and how well the parts are found by name."""

    data: Path
    """Folder of objects: PartNet v0, PartNet-Mobility, PartNeXt, PartObjaverse-Tiny, or GLB files with a hierarchy."""
    out: Path = Path("partnet-eval")
    """Folder for sample.json, the objects' records, results.json, report.html and the figures."""
    methods: tuple[MethodName, ...] = ()
    """What is compared; by default all that the given models can do, but simulated."""
    num_objects: int = 100
    """Objects drawn, one a model; all where there are fewer."""
    seed: int = 0
    """Of the draw, and of the methods that draw lots."""
    stratified: bool = False
    """Draw equally many of every category instead of evenly over all."""
    tree: TreeKind = "raw"
    """raw: as it was annotated (the published experiment; buttons are only there); merged: with standard names alone."""
    domain: Literal["area", "points"] = "area"
    """How parts are measured: by the area of their triangles, or by the data set's own sample of points."""
    vlm: VLMS = field(default_factory=Appearance)
    """Who names the parts: nobody (measured appearance), a model in this process, a server, or what was recorded."""
    encoder: ENCODERS = field(default_factory=Lexical)
    """What turns names and queries into vectors."""
    picture_encoder: OpenClip | HfText | None = None
    """What turns pictures into vectors; by default the encoder, where it knows pictures. Names are compared with pictures in its space."""
    label: LabelConfig = field(default_factory=LabelConfig)
    """How the labeller asks; --label.style paper is the published method."""
    pictures: PictureConfig = field(default_factory=PictureConfig)
    """How parts are shown."""
    index: Literal["name", "said"] = "name"
    """name: a part is found by its name alone (the published method); said: by the best of name, synonyms and function."""
    temperature: float = 10.0
    """Of the relevancy."""
    alpha: float = 0.5
    """Share of the name in hybrid; the rest is the picture's."""
    crop_views: int = 1
    """Views whose crops are averaged in clip-crop."""
    absent: int = 20
    """Names of other objects that each object is asked for, to tell present from absent."""
    simulated: tuple[float, float] = (0.6, 0.2)
    """Share of right names in `simulated`: below a parent that is named rightly, below one that is not."""
    predicted: Literal["no", "regions", "sam"] = "no"
    """Also ask the tree that the field finds from masks of the rendered views: colour regions, or truth with noise like SAM's."""
    predict: PredictedConfig = field(default_factory=PredictedConfig)
    """How that tree is found."""
    workers: int = 1
    """Objects worked on at a time, each in a process of its own."""
    ray: str | None = None
    """Address of a Ray cluster that takes the objects instead (auto: the one at hand; local: one on this machine)."""
    bootstrap: int = 2000
    """Draws of objects behind every interval."""
    overwrite: bool = False
    """Throw away what OUT holds of other settings."""

    def __post_init__(self) -> None:
        least = {"num_objects": 1, "workers": 1, "bootstrap": 1, "crop_views": 1, "absent": 0, "seed": 0}
        shares = all(0 <= share <= 1 for share in self.simulated)
        expect(
            *((name.replace("_", "-"), getattr(self, name), f"{low} or more", getattr(self, name) >= low) for name, low in least.items()),
            ("alpha", f"{self.alpha:g}", "a share within 0..1", 0 <= self.alpha <= 1),
            ("simulated", " ".join(f"{share:g}" for share in self.simulated), "two shares within 0..1", shares),
            ("temperature", f"{self.temperature:g}", "a number above 0", 0 < self.temperature < float("inf")))
