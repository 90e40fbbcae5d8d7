"""Fusing regions on a mesh: seconds and memory, against distances and surroundings of all pairs as the published programs have them.

    python -m eval.bench.fusing           # a ball of 20 480 faces, 17 parts, 8 views, every mode; all pairs on 1 280 faces
    python -m eval.bench.fusing --large   # 10⁶ faces too

Masks are exact, and in a second row the boxes around them, which take one geodesic solve each. The baseline's scores are checked
to be the same. Times are CPU seconds of one thread.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse.csgraph import dijkstra

from eval.bench.peak import peak_mb
from semquery.fusion import FusionConfig, MeshGraph, ViewRegions, directions, evidence_of, fuse, mesh_graph, poses, unit_sphere
from semquery.fusion.evidence import Evidence
from semquery.fusion.geodesics import capital, gaussian
from semquery.fusion.published import summed_scores
from semquery.render import RayCaster, pinhole
from semquery.segmenter import Region

PARTS = 17
Asked = Mapping[str, Sequence[ViewRegions]]


def ball(detail: int) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of 20·4^detail triangles."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=detail)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def make(detail: int, parts: int = PARTS, size: int = 512, boxes: bool = False) -> tuple[MeshGraph, Asked]:
    """A ball whose parts are the faces nearest to points spread over it, and what eight views show of each."""
    vertices, faces = ball(detail)
    middle = vertices[faces].mean(1)
    centres = -poses(directions("fib32"))[:parts, :3, 2]
    part = (middle @ centres.T).argmax(1)
    caster, intrinsics = RayCaster(unit_sphere(vertices)[0], faces), pinhole(60.0, (size, size))
    shown = [caster.cast(pose, intrinsics, (size, size)).face for pose in poses(directions("ring8"))]
    asked = {}
    for k in range(parts):
        masks = [(face >= 0) & (part[face] == k) for face in shown]
        masks = [filled(mask) for mask in masks] if boxes else masks
        asked[f"part {k}"] = tuple(ViewRegions(face, (Region(mask),) if mask.any() else (), f"view_{v}") for v, (face, mask) in enumerate(zip(shown, masks, strict=True)))
    return mesh_graph(vertices, faces), asked


def filled(mask: np.ndarray) -> np.ndarray:
    """The box around a mask."""
    return mask.any(1)[:, None] & mask.any(0)[None] if mask.any() else mask


def by_all_pairs(graph: MeshGraph) -> Callable[[Evidence], np.ndarray]:
    """Reasoning3D's scores with every distance and every surrounding worked out beforehand: n² and f² numbers."""
    every = dijkstra(graph.apart)
    near = np.eye(graph.num_faces, dtype=bool)
    step = graph.neighbours.toarray() > 0
    for _ in range(5):
        near = (near.astype(np.float32) @ step.astype(np.float32)) > 0

    def scores(evidence: Evidence) -> np.ndarray:
        found = np.zeros(graph.num_faces)
        for r in range(evidence.num_regions):
            count = evidence.pixels[r].toarray()[0]
            held = np.flatnonzero(count)
            w = gaussian(every[capital(graph, held)][graph.faces[held, 0]])
            share = near[held][:, held].sum(1) / near[held].sum(1)
            found[held] += evidence.score[r] * count[held] * w * share
        return found

    return scores


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def against_all_pairs(detail: int = 3) -> Iterator[str]:
    """How much faster the same scores are had."""
    graph, asked = make(detail, size=256)
    evidence = [evidence_of(views, graph.num_faces) for views in asked.values()]
    slow, expected = seconds(lambda: (lambda scores: [scores(each) for each in evidence])(by_all_pairs(graph)))
    fresh = mesh_graph(graph.vertices, graph.faces)
    fast, found = seconds(lambda: [summed_scores(fresh, each) for each in evidence])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    yield f"{graph.num_faces} faces, {len(asked)} parts, 8 views, the published scores: {fast:.2f} s, all pairs {slow:.2f} s ({slow / fast:.0f} times)"


def modes(detail: int = 5) -> Iterator[str]:
    """Seconds of every mode."""
    for boxes in (False, True):
        graph, asked = make(detail, boxes=boxes)
        for mode in ("robust", "reasoning3d", "satr", "sum"):
            fresh = MeshGraph(graph.vertices, graph.faces)
            spent, _ = seconds(lambda: fuse(fresh, asked, FusionConfig(mode)))
            yield f"{graph.num_faces} faces, {len(asked)} parts, 8 views of 512², {'boxes' if boxes else 'masks'}, {mode}: {spent:.2f} s"


def large(detail: int = 8, parts: int = 3) -> Iterator[str]:
    """Seconds and memory on a million faces and more; a matrix of all pairs would have 10¹² numbers."""
    graph, asked = make(detail, parts, 1024)
    for mode in ("robust", "reasoning3d"):
        spent, _ = seconds(lambda: fuse(MeshGraph(graph.vertices, graph.faces), asked, FusionConfig(mode)))
        peak = peak_mb(lambda: fuse(MeshGraph(graph.vertices, graph.faces), asked, FusionConfig(mode)))
        yield f"{graph.num_faces} faces, {len(asked)} parts, 8 views of 1024², {mode}: {spent:.1f} s, {peak:.0f} MB more at the peak"


if __name__ == "__main__":
    for line in [*against_all_pairs(), *modes()]:
        print(line)
    if "--large" in sys.argv:
        print("\n".join(large()))
