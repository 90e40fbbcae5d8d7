"""The part tree in rendered pictures: the outputs `parts`, `highlight`, `relevancy` and `features`.

A pixel is of the part of the fused surface point nearest to where its ray ends. A render can be interrupted at any line, and
other threads change what is shown while it goes on; so all that a frame needs is a `Sight`: made elsewhere, never changed,
taken once per frame.

Notation
  n surface points, p parts, r rays. Points are in the capture's frame, colours of rays 0..1.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, UInt8
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from nerfstudio_plugin.cutaway import Cells, Cut
from semquery.export import part_colors
from semquery.store import Run
from semquery.types import PartTree, Surface
from semquery.viewer.colours import Basis, heat_colors, pca_basis, tinted, turbo
from semquery.viewer.session import DEFAULT_LEVEL, Shown

PICTURES = ("parts", "highlight", "relevancy", "features")  # in every frame, so that the viewer's list of outputs stays as it is
REACH = 0.05  # of the scene's size: where a ray ends farther from the surface than this, it shows no part of the tree
SEEN = 0.5  # opacity from which a ray ends on something


@dataclass(frozen=True)
class Scenery:
    """A surface and its tree, made ready for look-ups; takes seconds where there are many points."""

    surface: Surface
    tree: PartTree

    @cached_property
    def nearest(self):
        """The nearest point of the surface (scipy.spatial.cKDTree)."""
        from scipy.spatial import cKDTree

        return cKDTree(self.surface.points)

    @cached_property
    def reach(self) -> float:
        """World units from the surface within which a ray shows it."""
        return float(max(3 * self.surface.voxel_size, REACH * np.ptp(self.surface.points, axis=0).max()))

    @cached_property
    def basis(self) -> Basis | None:
        """Colours of features that stay the same from frame to frame; None where no field was trained."""
        return pca_basis(self.surface.features) if self.surface.features.shape[1] else None

    @cached_property
    def cells(self) -> Cells:
        """Which part is where, for taking parts out; needed only there."""
        return Cells.around(self.surface.points, self.tree.part_of_point, self.surface.voxel_size)

    def prepare(self) -> "Scenery":
        """Make what every frame needs now, imports included: in a render they could be interrupted half way."""
        _ = self.nearest, self.reach, self.basis, turbo()
        return self

    def prepare_cuts(self) -> None:
        """Make what takes seconds and only cuts need."""
        _ = self.cells

    def cut(self, is_lit: Bool[np.ndarray, " p"], alone: bool, T_train_capture: Float[Tensor, "4 4"], device: torch.device | str) -> Cut:
        """What is left of space when the lit parts are hidden, or all but them."""
        kept = self.cells.only(is_lit) if alone else self.cells.without(is_lit)
        return Cut.of(self.cells, kept, not alone, T_train_capture, device)

    def ends(self, points: Float[Tensor, "r 3"], seen: Float[Tensor, "r 1"]) -> "Ends":
        """The parts where rays end; `seen`: their opacity."""
        return Ends.of(self, points, seen)


@dataclass(frozen=True)
class Sight:
    """What the outputs of one frame show, by tables of the parts."""

    scenery: Scenery
    color_of_part: UInt8[np.ndarray, "p 3"]  # at the level of the tree that is shown
    is_lit: Bool[np.ndarray, " p"] | None = None  # None = nothing is selected
    cut: Any = None  # (Cut, or what the scenery makes of it) what is left where the selection is shown alone or hidden; None = it is tinted
    heat: Float32[np.ndarray, " p"] | None = None  # 0..1, NaN = below the threshold; None = no query

    @staticmethod
    def of(shown: Shown, scenery: Scenery, T_train_capture: Float[Tensor, "4 4"], device: torch.device | str) -> "Sight":
        """All that follows from what a session shows of this scenery's tree."""
        heat = None if shown.heat is None else shown.heat.shown(shown.threshold, shown.normalise)
        is_lit = lit_parts(shown) if shown.lit else None
        cut = None
        if is_lit is not None and shown.mode != "tint":
            cut = scenery.cut(is_lit, shown.mode == "isolate", T_train_capture, device)
        return Sight(scenery, colors_at(scenery.tree, shown.level), is_lit, cut, heat)


def colors_at(tree: PartTree, level: int) -> UInt8[np.ndarray, "p 3"]:
    """The colour of every part at a level of the tree: that of its ancestor there, whatever the level and the camera."""
    return part_colors(tree.num_parts)[tree.level(level)]


def lit_parts(shown: Shown) -> Bool[np.ndarray, " p"]:
    """Which parts are selected or lie in a selected one. Something is loaded."""
    spans = shown.loaded.spans
    is_lit = np.zeros(shown.loaded.tree.num_parts, bool)
    for part in shown.lit:
        is_lit |= (spans.first >= spans.first[part]) & (spans.last <= spans.last[part])
    return is_lit


@dataclass(frozen=True)
class Frame:
    """What one frame shows, and which pictures of it are looked at."""

    sight: Sight | None
    wanted: frozenset[str] = frozenset(PICTURES)


class TreePictures:
    """Where frames take what they show from: a viewer puts it there; without one it is read from the run at the first need."""

    def __init__(self, scenery: Callable[[Surface, PartTree], Scenery] = Scenery) -> None:
        """`scenery`: what makes a surface and its tree ready for the geometry that is rendered."""
        self.scenery = scenery
        self.run: Path | None = None
        self.is_live = False  # a viewer puts `sight` there
        self.sight: Sight | None = None  # replaced whole
        self.watched: Callable[[], frozenset[str]] | None = None  # the outputs that are looked at; None = all
        self._frame = threading.local()
        self._said = False

    @contextmanager
    def frame(self) -> Iterator["Frame"]:
        """All rays of one frame show the same, however many pieces it is rendered in."""
        self._frame.now = self._take()
        try:
            yield self._frame.now
        finally:
            self._frame.now = None

    @property
    def now(self) -> Frame:
        """Of the frame that this thread is rendering; outside of one, of this moment."""
        return getattr(self._frame, "now", None) or self._take()

    @property
    def has_tree(self) -> bool:
        return self.run is not None and (self.run / "parts.npz").exists() and (self.run / "surface.npz").exists()

    def forget(self) -> None:
        """Read the tree anew at the next frame."""
        if not self.is_live:
            self.sight = None

    def say_what_is_missing(self, frame: "Frame") -> None:
        """Why a picture that is looked at is grey, once."""
        if frame.sight is None and frame.wanted & {"parts", "relevancy"} and not self._said:
            self._said = True
            CONSOLE.log(f"`parts` and `relevancy` are grey: there is no part tree in {self.run} yet. It is built when the training ends.")

    def _take(self) -> Frame:
        if self.sight is None and not self.is_live and self.has_tree:
            run = Run(self.run)
            scenery = self.scenery(run.surface(), run.parts()).prepare()
            self.sight = Sight(scenery, colors_at(scenery.tree, DEFAULT_LEVEL))
        return Frame(self.sight, frozenset(PICTURES) if self.watched is None else self.watched())


def tree_pictures(
    frame: Frame, rgb: Float[Tensor, "r 3"], seen: Float[Tensor, "r 1"], points: Float[Tensor, "r 3"],
    features: Callable[[], Float[Tensor, "r c"] | None], cut_out: Callable[[Any], Float[Tensor, "r 3"]],
) -> dict[str, Float[Tensor, "r _"]]:
    """All of PICTURES; those that nobody looks at are the plain picture, which costs nothing.

    `seen`: opacity of the rays, which end at `points`. `features`: those at the ends, None while there are none. `cut_out`:
    the plain picture of what a cut leaves.
    """
    drawn, sight, wanted = dict.fromkeys(PICTURES, rgb), frame.sight, frame.wanted
    if "features" in wanted:
        drawn["features"] = features_picture(sight, features(), rgb, seen)
    if sight is None:
        return {**drawn, **{name: grey(rgb) * seen for name in ("parts", "relevancy") if name in wanted}}
    ends = sight.scenery.ends(points, seen) if wanted & {"parts", "relevancy", "highlight"} else None
    if "parts" in wanted:
        drawn["parts"] = parts_picture(sight, ends, rgb) * seen
    if "relevancy" in wanted:
        drawn["relevancy"] = relevancy_picture(sight, ends, rgb, seen)
    if "highlight" in wanted:
        drawn["highlight"] = highlight_picture(sight, ends, rgb, seen) if sight.cut is None else cut_out(sight.cut)
    return drawn


# ------------------------------------------------------------------------------------- one picture


@dataclass(frozen=True)
class Ends:
    """What the rays of a picture end on."""

    part: Int32[np.ndarray, " r"]  # the smallest one at the nearest point of the surface
    is_on: Bool[np.ndarray, " r"]  # the ray ends on something, and near the surface

    @staticmethod
    def of(scenery: Scenery, points: Float[Tensor, "r 3"], seen: Float[Tensor, "r 1"]) -> "Ends":
        away, point = scenery.nearest.query(points.detach().float().cpu().numpy(), workers=-1)
        return Ends(scenery.tree.part_of_point[point], (away <= scenery.reach) & (seen[:, 0] >= SEEN).cpu().numpy())


def parts_picture(sight: Sight, ends: Ends, rgb: Float[Tensor, "r 3"]) -> Float[Tensor, "r 3"]:
    """The parts in colours of their own; the photo's brightness shines through, so that shape stays visible."""
    return torch.from_numpy(sight.color_of_part[ends.part]).to(rgb) / 255 * light(rgb)


def highlight_picture(sight: Sight, ends: Ends, rgb: Float[Tensor, "r 3"], seen: Float[Tensor, "r 1"]) -> Float[Tensor, "r 3"]:
    """The selection tinted; the picture itself where nothing is selected."""
    if sight.is_lit is None:
        return rgb
    is_lit = sight.is_lit[ends.part] & ends.is_on
    return over(from_bytes(tinted(to_bytes(rgb), is_lit), rgb), rgb, seen)


def relevancy_picture(sight: Sight, ends: Ends, rgb: Float[Tensor, "r 3"], seen: Float[Tensor, "r 1"]) -> Float[Tensor, "r 3"]:
    """How well each part fits the query, as heat over the dimmed picture."""
    heat = np.full(sight.scenery.tree.num_parts, np.nan, np.float32) if sight.heat is None else sight.heat
    value = np.where(ends.is_on, heat[ends.part], np.float32(np.nan))
    return over(from_bytes(heat_colors(value, to_bytes(rgb)), rgb), rgb, seen)


def features_picture(
    sight: Sight | None, features: Float[Tensor, "r c"] | None, rgb: Float[Tensor, "r 3"], seen: Float[Tensor, "r 1"]
) -> Float[Tensor, "r _"]:
    """Features in the colours of the scene's basis, as they are before there is a surface, grey before there are any."""
    if features is None:
        return grey(rgb) * seen
    if sight is None or sight.scenery.basis is None:
        return features * seen
    return from_bytes(sight.scenery.basis.colors(features.detach().float().cpu().numpy()), rgb) * seen


def light(rgb: Float[Tensor, "r 3"]) -> Float[Tensor, "r 1"]:
    return 0.35 + 0.65 * rgb.mean(-1, keepdim=True)


def grey(rgb: Float[Tensor, "r 3"]) -> Float[Tensor, "r 3"]:
    """What a picture is while there is nothing to show."""
    return light(rgb).expand_as(rgb) * 0.5


def over(picture: Float[Tensor, "r 3"], rgb: Float[Tensor, "r 3"], seen: Float[Tensor, "r 1"]) -> Float[Tensor, "r 3"]:
    """A picture where there is something, what was there before where there is nothing."""
    return seen * picture + (1 - seen) * rgb


def to_bytes(rgb: Float[Tensor, "r 3"]) -> UInt8[np.ndarray, "r 3"]:
    return (rgb.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()


def from_bytes(colors: UInt8[np.ndarray, "r 3"], like: Float[Tensor, "r _"]) -> Float[Tensor, "r 3"]:
    return torch.from_numpy(colors).to(like) / 255
