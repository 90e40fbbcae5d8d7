"""What the views of a mesh say, as pixels of faces.

Notation
  v views, r regions of all views, f faces, h w image height and width.
  c[r, f] pixels of face f in region r; vis[v, f] pixels of face f in view v.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64
from scipy.sparse import csr_matrix

from semquery.segmenter import Region


@dataclass(frozen=True)
class ViewRegions:
    """What one rendered view contributes: the face behind each pixel, and the regions that answer one query."""

    face: Int32[np.ndarray, "h w"]  # -1 = none
    regions: tuple[Region, ...]  # none: what is asked for is not visible, or was not found
    name: str
    failed: str = ""  # why nobody answered for it; such a view counts for nothing

    def __post_init__(self) -> None:
        for region in self.regions:
            if region.mask.shape != self.face.shape:
                raise ValueError(f"View {self.name!r} has {self.face.shape} pixels, and a region in it {region.mask.shape}: expected the same.")


@dataclass(frozen=True)
class Evidence:
    """The regions of all views that show any face, one after another. (Sparse matrices have the shapes that are named.)"""

    pixels: csr_matrix  # c [r, f]
    view: Int64[np.ndarray, " r"]
    score: Float64[np.ndarray, " r"]
    is_box: Bool[np.ndarray, " r"]  # the mask is all of a rectangle: where something is, not what it is
    regions: tuple[Region, ...]

    @property
    def num_regions(self) -> int:
        return len(self.regions)


def evidence_of(views: Sequence[ViewRegions], num_faces: int) -> Evidence:
    """Pixels of each face in each region; regions that show no face are left out. Raises ValueError for faces that the mesh has not."""
    check_faces(views, num_faces)
    rows, view, regions = [], [], []
    for v, each in enumerate(views):
        for region in each.regions:
            face = each.face[region.mask]
            face = face[face >= 0]
            if len(face):
                count = np.bincount(face)
                shown = np.flatnonzero(count)
                rows.append((shown, count[shown]))
                view.append(v)
                regions.append(region)
    start = np.cumsum([0, *(len(face) for face, _ in rows)])
    columns = np.concatenate([np.zeros(0, np.int64), *(face for face, _ in rows)]).astype(np.int64)
    counts = np.concatenate([np.zeros(0), *(count for _, count in rows)]).astype(np.float64)
    pixels = csr_matrix((counts, columns, start), shape=(len(rows), num_faces))
    return Evidence(pixels, np.array(view, np.int64), np.array([r.score for r in regions], np.float64),
                    np.array([is_box(r.mask) for r in regions], bool), tuple(regions))


def visible(views: Sequence[ViewRegions], num_faces: int) -> csr_matrix:
    """vis [v, f]: pixels of each face in each view."""
    check_faces(views, num_faces)
    rows = [np.bincount(each.face[each.face >= 0], minlength=num_faces) for each in views]
    found = [np.flatnonzero(row) for row in rows]
    start = np.cumsum([0, *map(len, found)])
    columns = np.concatenate([np.zeros(0, np.int64), *found])
    counts = np.concatenate([np.zeros(0), *(row[some] for row, some in zip(rows, found, strict=True))]).astype(np.float64)
    return csr_matrix((counts, columns, start), shape=(len(views), num_faces))


def check_faces(views: Sequence[ViewRegions], num_faces: int) -> None:
    """Raises ValueError where a view shows a face that the mesh has not."""
    for each in views:
        if each.face.max(initial=-1) >= num_faces:
            raise ValueError(f"View {each.name!r} shows face {each.face.max()}; the mesh has {num_faces}. Render the mesh that is fused.")


def is_box(mask: Bool[np.ndarray, "h w"]) -> bool:
    """Whether a mask fills the rectangle around it; one of a pixel or two says nothing and is no box."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows) or min(np.ptp(rows), np.ptp(columns)) < 2:
        return False
    return bool(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())
