"""View Consistency (VC): does a pixel lie in the same part when another camera looks at it? Numbers only, no files.

Notation
  h w image height and width, a nodes of the true tree, p nodes of the predicted tree, b = a - 1 true nodes
  below the root, k distinct combinations of (true leaf, part in A, part in B) among co-visible pixels.
  Trees are two arrays as in `metrics`. v and u are predicted nodes, g is a true one.
Conventions
  Cameras as in `semquery.types`; lengths in world units; -1 = nothing here. Pixels of B are flat, row-major.

Definition, after Ultrametric Feature Fields (ECCV 2024). For an ordered pair of views (A, B) and a true node g
of which A shows enough: a pixel x of g is drawn; v is the node that holds x and overlaps g best in A (by IoU, the
smallest of equals); x is followed into B by the true depth, to x'; u is the node of x' at the same level. VC is the
IoU of v's pixels in A with u's pixels in B, followed back to A, over the pixels that both views see.
Mean over x, then over (A, B, g) within a level of the true tree, then over levels.

Departures. The original draws 100 pixels a segment; here the expectation is computed, from counts of the distinct
combinations. Its segments are flat cuts and "the same level" is the same threshold; here it is the ancestor of the
node of x' as deep as v is (that node itself where it is less deep). Pixels whose counterpart lies in no segment
are not drawn there; here a pixel in no predicted part, in either view, counts 0, lest holes should pay.
VC alone rewards a tree of nothing but its root: read it beside normalised covering.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from eval.metrics import contingency, depths, level_means, node_iou, shown_nodes
from semquery.geometry import image_points


@dataclass(frozen=True)
class View:
    """One held-out picture: what is predicted, what is true, and from where."""

    parts: Int[np.ndarray, "h w"]  # smallest predicted node of each pixel
    leaves: Int[np.ndarray, "h w"]  # smallest true node
    points: Float[np.ndarray, "h w 3"]  # true surface; any value where `leaves` is -1
    T_world_cam: Float[np.ndarray, "4 4"]
    intrinsics: Float[np.ndarray, " 4"]  # fx fy cx cy, pixels


def view_consistency(
    true_parents: Int[np.ndarray, " a"], parents: Int[np.ndarray, " p"], views: Sequence[View], tolerance: float, min_pixels: int = 20
) -> tuple[float, tuple[float, ...]]:
    """(VC, VC of every level) over all ordered pairs of views that share pixels.

    Two pixels show the same place when their true points lie within `tolerance` world units: take about a pixel's
    footprint. A true node counts where the first view shows `min_pixels` of it, and the second at least one of them.
    """
    lines, values, shown = lineages(parents), [], []
    for a in views:
        own = contingency(a.leaves.reshape(-1), len(true_parents), a.parts.reshape(-1), len(parents))
        best, large = best_holders(node_iou(own, true_parents, parents)[:-1], parents), shown_nodes(own, true_parents, min_pixels)
        for b in views:
            if a is b:
                continue
            value = pair_consistency(best, lines, lineages(true_parents), *combinations(a, b, tolerance))
            values.append(np.nan_to_num(value))
            shown.append(large & ~np.isnan(value))
    if not np.any(shown):
        raise ValueError(f"None of {len(views)} views shares a true node of {min_pixels} pixels with another; give views that overlap.")
    levels = level_means(np.array(values), true_parents, np.array(shown))
    return float(np.nanmean(levels)), tuple(levels.tolist())


def correspondences(a: View, b: View, tolerance: float) -> Int64[np.ndarray, "h w"]:
    """The pixel of B that shows what each pixel of A shows; -1 where B sees something else, or nothing."""
    height, width = b.leaves.shape
    u, v, depth = image_points(a.points.reshape(-1, 3), b.T_world_cam, b.intrinsics)
    seen = (a.leaves.reshape(-1) >= 0) & (depth > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    pixel = np.where(seen, np.floor(np.where(seen, v, 0)) * width + np.floor(np.where(seen, u, 0)), 0).astype(np.int64)
    apart = np.linalg.norm(a.points.reshape(-1, 3) - b.points.reshape(-1, 3)[pixel], axis=1)
    seen &= (b.leaves.reshape(-1)[pixel] >= 0) & (apart <= tolerance)
    return np.where(seen, pixel, -1).reshape(a.leaves.shape)


def combinations(a: View, b: View, tolerance: float) -> tuple[Int64[np.ndarray, "k 3"], Int64[np.ndarray, " k"]]:
    """The distinct (true leaf, part in A, part in B) of co-visible pixels of A, and how many pixels have each."""
    pixel = correspondences(a, b, tolerance)
    seen = pixel >= 0
    triples = np.stack([a.leaves[seen], a.parts[seen], b.parts.reshape(-1)[pixel[seen]]], 1).astype(np.int64)
    return np.unique(triples, axis=0, return_counts=True)


def lineages(parents: Int[np.ndarray, " p"]) -> Int64[np.ndarray, "p d"]:
    """Each node's ancestors from the root (column 0) down to itself, itself repeated in the columns below."""
    depth = depths(parents)
    lines = np.tile(np.arange(len(parents))[:, None], (1, depth.max() + 1))
    for node in range(len(parents) - 2, -1, -1):
        lines[node, : depth[node]] = lines[parents[node], : depth[node]]
    return lines


def best_holders(iou: Float64[np.ndarray, "b p"], parents: Int[np.ndarray, " p"]) -> Int64[np.ndarray, "b p"]:
    """For each true and predicted node, which of the latter's lineage overlaps the former best; of equals the deepest."""
    best, holder = iou.copy(), np.tile(np.arange(len(parents)), (len(iou), 1))
    for node in range(len(parents) - 2, -1, -1):
        up = parents[node]
        higher = best[:, up] > best[:, node]
        best[higher, node], holder[higher, node] = best[higher, up], holder[higher, up]
    return holder


def pair_consistency(
    best: Int64[np.ndarray, "b p"], lines: Int64[np.ndarray, "p d"], true_lines: Int64[np.ndarray, "a d_true"],
    triples: Int64[np.ndarray, "k 3"], count: Int64[np.ndarray, " k"],
) -> Float64[np.ndarray, " b"]:
    """VC of every true node below the root for one ordered pair of views, nan where they share no pixel of it."""
    leaf, first, second = triples.T
    depth = (lines[:, 1:] != lines[:, :-1]).sum(1)
    drawn, node = np.nonzero((true_lines[leaf][:, :, None] == np.arange(len(best))).any(1)) if len(leaf) else (leaf, leaf)
    in_part = (first[drawn] >= 0) & (second[drawn] >= 0)
    v = best[node, first[drawn]]
    u = lines[second[drawn], depth[v]]
    value = np.zeros(len(drawn))
    value[in_part] = overlaps(v[in_part], u[in_part], lines, first, second, count)
    total = np.bincount(node, count[drawn], len(best))
    return np.where(total, np.bincount(node, count[drawn] * value, len(best)) / np.maximum(total, 1), np.nan)


def overlaps(
    v: Int64[np.ndarray, " q"], u: Int64[np.ndarray, " q"], lines: Int64[np.ndarray, "p d"],
    first: Int64[np.ndarray, " k"], second: Int64[np.ndarray, " k"], count: Int64[np.ndarray, " k"],
) -> Float64[np.ndarray, " q"]:
    """IoU of node v in A and node u in B over the co-visible pixels, for q pairs of nodes.

    Sums run over the distinct combinations only, through sparse memberships of the nodes that are asked for.
    """
    inside_v, inside_u = members(v, first, lines), members(u, second, lines)
    both = (inside_v.multiply(count[None]).tocsr() @ inside_u.T).tocsr()
    size_v, size_u = inside_v @ count, inside_u @ count
    row, column = np.unique(v, return_inverse=True)[1].reshape(-1), np.unique(u, return_inverse=True)[1].reshape(-1)
    shared = np.asarray(both[row, column]).reshape(-1)
    return shared / np.maximum(size_v[row] + size_u[column] - shared, 1)


def members(wanted: Int64[np.ndarray, " q"], part: Int64[np.ndarray, " k"], lines: Int64[np.ndarray, "p d"]):
    """A sparse 0/1 matrix: which combinations (columns) lie in each distinct wanted node (rows, by number)."""
    from scipy.sparse import csr_matrix

    nodes, held = np.unique(wanted), np.flatnonzero(part >= 0)
    line = lines[part[held]]
    new = np.ones(line.shape, bool)
    new[:, 1:] = line[:, 1:] != line[:, :-1]
    place = np.minimum(np.searchsorted(nodes, line), max(len(nodes) - 1, 0))
    at, level = np.nonzero(new & (nodes[place] == line)) if len(nodes) else (held[:0], held[:0])
    return csr_matrix((np.ones(len(at), np.int64), (place[at, level], held[at])), shape=(len(nodes), len(part)))
