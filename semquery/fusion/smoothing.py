"""Visibility smoothing: a face counts in a region by the share of its surroundings that the region holds, too (SATR, arXiv 2304.04909).

Notation
  f faces, s sets of faces (regions, or what views see), N(f) the faces within some steps of face f over shared edges, f included.
Neighbourhoods are made for a few thousand faces at a time, as sparse rows; nothing is of the order f².
"""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_matrix

from semquery.fusion.graph import MeshGraph

STEPS = 5
AT_A_TIME = 8192  # faces whose neighbourhoods are held together


def around(graph: MeshGraph, faces: Int64[np.ndarray, " k"], steps: int = STEPS) -> csr_matrix:
    """[k, f], 1 where a face is within so many steps of each of these."""
    found = csr_matrix((np.ones(len(faces), np.int32), (np.arange(len(faces)), faces)), shape=(len(faces), graph.num_faces))
    for _ in range(steps):
        found = found @ graph.neighbours
        found.data[:] = 1  # reached, however often
    return found


def counts_around(graph: MeshGraph, sets: csr_matrix, steps: int = STEPS) -> tuple[csr_matrix, Float64[np.ndarray, " f"]]:
    """|N(f) ∩ S| [s, f] for faces that any set holds, and |N(f)| (0 for other faces). `sets` [s, f] counts where it is not 0."""
    by_face = csr_matrix((np.ones(len(sets.data), np.int32), sets.indices, sets.indptr), shape=sets.shape).T.tocsr()
    held = np.flatnonzero(np.diff(by_face.indptr))
    size, rows, columns, counts = np.zeros(graph.num_faces), [], [], []
    for k in range(0, len(held), AT_A_TIME):
        faces = held[k : k + AT_A_TIME]
        near = around(graph, faces, steps)
        size[faces] = np.diff(near.indptr)
        found = (near @ by_face).tocoo()
        rows.append(found.col)
        columns.append(faces[found.row])
        counts.append(found.data)
    whole = [np.concatenate([np.zeros(0, np.int64), *each]) for each in (counts, rows, columns)]
    counted = csr_matrix((whole[0].astype(np.float64), (whole[1], whole[2])), shape=sets.shape)
    counted.sort_indices()
    return counted, size


def agreement(graph: MeshGraph, pixels: csr_matrix, steps: int = STEPS) -> csr_matrix:
    """r = |N(f) ∩ R| / |N(f)| in the entries of `pixels` [r, f], whose rows say which faces a region R holds."""
    counted, size = counts_around(graph, pixels, steps)
    is_held = pixels.copy()
    is_held.data = 1 / size[pixels.indices]
    return counted.multiply(is_held).tocsr()
