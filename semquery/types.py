"""What crosses stages: frozen records of plain numpy arrays.

Notation
  v views, h w image height and width, n surface points, m masks of one view, l label layers,
  p parts, d embedding width.  Ids are row numbers everywhere.
Conventions
  T_world_cam maps camera coordinates to world coordinates. Camera axes are OpenGL's: x right, y up,
  z towards the viewer. The world is the capture's own frame and unit, whatever the trainer used inside.
  Pixel (row, column) has its centre at (row + .5, column + .5).
  A tree is two arrays, `parents` and `altitude`: leaves first, a parent's id is larger than its
  children's, the root comes last and is its own parent (Higra's layout).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Num, Shaped, UInt8, UInt16


@dataclass(frozen=True)
class Cameras:
    """Posed pinhole views. Lens distortion, where there is any, is already in the observed points."""

    names: tuple[str, ...]  # one per view, unique; also the file name of the view's artefacts
    images: tuple[str, ...]  # path of each photo
    T_world_cam: Float64[np.ndarray, "v 4 4"]
    intrinsics: Float64[np.ndarray, "v 4"]  # fx fy cx cy, pixels
    sizes: Shaped[np.ndarray, "v 2"]  # height width, pixels


@dataclass(frozen=True)
class MaskStack:
    """The masks of one view, packed: disjoint masks share a layer, so nested ones cost one layer a level."""

    layers: UInt16[np.ndarray, "l h w"]  # 0 = no mask, k = mask k-1
    scores: Float32[np.ndarray, " m"]  # confidence of each mask, 0..1

    @property
    def num_masks(self) -> int:
        return len(self.scores)

    @property
    def size(self) -> tuple[int, int]:
        return self.layers.shape[1], self.layers.shape[2]

    def masks(self) -> Bool[np.ndarray, "m h w"]:
        """The masks as booleans (large: m·h·w bytes)."""
        dense = np.zeros((self.num_masks, *self.size), dtype=bool)
        for layer in self.layers:
            ids = np.unique(layer[layer > 0]).astype(np.int64)
            dense[ids - 1] = layer[None] == ids[:, None, None]
        return dense


@dataclass(frozen=True)
class Observation:
    """The surface as one view sees it: a 3D point and a colour for every pixel that hits something."""

    size: tuple[int, int]  # height, width of the pixel grid
    pixels: Int32[np.ndarray, " k"]  # flat row-major pixel index, increasing
    points: Float32[np.ndarray, "k 3"]  # world units
    colors: UInt8[np.ndarray, "k 3"]


@dataclass(frozen=True)
class Surface:
    """Fused surface points of the whole scene, and which of them each view's pixels show."""

    points: Float32[np.ndarray, "n 3"]
    normals: Float32[np.ndarray, "n 3"]  # unit, towards the cameras that saw the point
    colors: UInt8[np.ndarray, "n 3"]
    features: Num[np.ndarray, "n c"]  # float16, unit length; no columns before the field is trained
    source: Int32[np.ndarray, " n"]  # face, Gaussian or voxel each point came from
    voxel_size: float  # world units
    point_of_pixel: dict[str, Int32[np.ndarray, "h w"]] = field(default_factory=dict)  # -1 = none


@dataclass(frozen=True)
class MergeTree:
    """A binary tree of merges over points: leaves 0..n-1, merge k is node n+k."""

    parents: Int32[np.ndarray, " t"]
    altitude: Float32[np.ndarray, " t"]  # 0 at leaves, never lower than a child's

    @property
    def num_leaves(self) -> int:
        return (len(self.parents) + 1) // 2


@dataclass(frozen=True)
class PartTree:
    """The scene's parts, every part inside its parent; the root is the whole scene."""

    parents: Int32[np.ndarray, " p"]
    altitude: Float32[np.ndarray, " p"]  # of the merge that made the part
    part_of_point: Int32[np.ndarray, " n"]  # the smallest part that holds each point
    # (part, view, mask): the mask is evidence for the part; views count as sorted names of those with masks and surface
    support: Int32[np.ndarray, "s 3"]
    support_iou: Float32[np.ndarray, " s"]

    @property
    def num_parts(self) -> int:
        return len(self.parents)

    @property
    def root(self) -> int:
        return len(self.parents) - 1

    @cached_property
    def depth(self) -> Int32[np.ndarray, " p"]:
        """Steps from the root, which has depth 0."""
        depth = np.zeros(self.num_parts, np.int32)
        for part in range(self.num_parts - 2, -1, -1):
            depth[part] = depth[self.parents[part]] + 1
        return depth

    @cached_property
    def holds(self) -> Bool[np.ndarray, "p p"]:
        """holds[a, b]: part b is a or lies somewhere inside a."""
        holds = np.eye(self.num_parts, dtype=bool)
        for part in range(self.num_parts - 1):
            holds[self.parents[part]] |= holds[part]
        return holds

    @cached_property
    def num_points(self) -> Int32[np.ndarray, " p"]:
        """Points in each part, those of its descendants included."""
        own = np.bincount(self.part_of_point, minlength=self.num_parts)
        return (self.holds @ own).astype(np.int32)

    def children(self, part: int) -> list[int]:
        kids = np.flatnonzero(self.parents == part)
        return [int(k) for k in kids if k != part]

    def path(self, part: int) -> list[int]:
        """From the root's child down to the part itself; the root's path is [root]."""
        path = [int(part)]
        while self.parents[path[-1]] != self.root and path[-1] != self.root:
            path.append(int(self.parents[path[-1]]))
        return path[::-1]

    def points_of(self, part: int) -> Bool[np.ndarray, " n"]:
        """Which points lie in the part or inside one of its descendants."""
        return self.holds[part][self.part_of_point]

    def level(self, depth: int) -> Int32[np.ndarray, " p"]:
        """The ancestor of each part at this depth (the part itself where it is shallower)."""
        at = np.arange(self.num_parts, dtype=np.int32)
        for part in range(self.num_parts - 2, -1, -1):
            if self.depth[part] > depth:
                at[part] = at[self.parents[part]]
        return at


@dataclass(frozen=True)
class NodeLabel:
    """What a part is called, and why."""

    part: int
    name: str
    synonyms: tuple[str, ...] = ()
    function: str = ""  # one line: what it is for, or what is known about it
    alternatives: tuple[tuple[str, float], ...] = ()  # other names with scores 0..1
    thinking: str = ""
    confidence: float = 1.0  # 0..1; measured (token probabilities, agreement), .5 where nothing is known
    source: str = "rule"  # vlm | user | rule
    raw: str = ""  # the answer as it came
    status: str = "named"  # named | failed
    reason: str = ""  # why it failed, or what was done to the name
    parent_suspect: bool = False  # the part hardly fits what its parent was called
    calls: int = 0  # requests it took


@dataclass(frozen=True)
class Codebook:
    """Embeddings of everything that is said about the parts, and of what a query has to beat.

    Every distinct text has one row, however many parts it is said of; an entry says one text of one part.
    """

    texts: tuple[str, ...]  # the text of each row
    vectors: Float32[np.ndarray, "k d"]  # unit length, or zero where the encoder knows nothing of a text
    part_of_entry: Int32[np.ndarray, " e"]
    text_of_entry: Int32[np.ndarray, " e"]  # row of `texts`
    fields: tuple[str, ...]  # of each entry: name | synonym | function | alternative
    negative_texts: tuple[str, ...]
    negatives: Float32[np.ndarray, "j d"]  # what a hit has to beat: object, things, stuff, texture
    bank_texts: tuple[str, ...]
    bank: Float32[np.ndarray, "b d"]  # generic part names: what else a query might mean
    encoder: str  # identity of the text encoder
    encoder_config: Mapping[str, Any] = field(default_factory=dict)  # how to make it again: class and fields
    part_of_picture: Int32[np.ndarray, " q"] = field(default_factory=lambda: np.zeros(0, np.int32))
    pictures: Float32[np.ndarray, "q a"] = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # pictures of parts, unit length
    picture_encoder: str = ""  # identity of the encoder of pictures (and of the queries they are compared with); "" = no pictures
    picture_encoder_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """One answer to a query: a part, or several that answer together."""

    part: int  # the highest part that is the answer; of several that no part holds alone, the best
    score: float  # what the scorer gives, 0..1; its name is in `scorer`
    path: tuple[str, ...]  # names from the top of the tree down to the part
    matched: str  # the text that scored
    reason: str
    num_points: int  # of all members together
    extent: tuple[float, float, float]  # size along the principal axes, world units, of all members together
    members: tuple[int, ...] = ()  # the parts that answer together ("all the legs"); (part,) for a single one
    probability: float = 1.0  # calibrated chance that the scene has what was asked for
    scorer: str = "lerf"  # lerf | cosine | zscore | exact
