"""The published run of Reasoning3D on a bed, with the masks of LISA-13B: faces score as the authors' own programs say.

The data is not part of this project: set SEMQUERY_BED_LISA to a folder with model.obj, mask_0.jpg … mask_7.jpg, boxes.json and
raw_face_scores.npy.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from semquery.fusion import ViewRegions, directions, evidence_of, mesh_graph, poses, unit_sphere
from semquery.fusion.published import above_mean, summed_scores
from semquery.render import RayCaster, pinhole
from semquery.segmenter import Context, Recorded

FOLDER = Path(os.environ.get("SEMQUERY_BED_LISA", ""))
pytestmark = pytest.mark.skipif("SEMQUERY_BED_LISA" not in os.environ, reason="set SEMQUERY_BED_LISA to the published demo's folder")
SIZE = (1024, 1024)


def in_file_order(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles as they stand in an OBJ; readers of meshes gather faces by material."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    vertices = np.array([line[1:4] for line in lines if line[0] == "v"], float)
    return vertices, np.array([[int(corner.split("/")[0]) - 1 for corner in line[1:]] for line in lines if line[0] == "f"])


@pytest.fixture(scope="module")
def bed():
    """Graph and evidence."""
    vertices, faces = in_file_order(FOLDER / "model.obj")
    caster, masks = RayCaster(unit_sphere(vertices)[0], faces), Recorded(FOLDER)
    views = []
    for k, pose in enumerate(poses(directions("ring8"))):
        face = caster.cast(pose, pinhole(60.0, SIZE), SIZE).face
        views.append(ViewRegions(face, tuple(masks.segment(np.zeros((*SIZE, 3), np.uint8), "the supporting part", Context(f"view_{k}"))), f"view_{k}"))
    return mesh_graph(vertices, faces), evidence_of(views, len(faces))


def published() -> np.ndarray:
    return np.load(FOLDER / "raw_face_scores.npy")[:, 0]


def test_the_faithful_mode_reproduces_the_published_scores(bed):
    scores, expected = summed_scores(*bed), published()
    assert np.corrcoef(scores, expected)[0, 1] >= 0.998
    ours, theirs = above_mean(scores[None])[0], above_mean(expected[None])[0]
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.96


def test_each_of_the_weights_is_a_part_of_it(bed):
    expected = published()

    def fit(*switches: bool) -> float:
        return float(np.corrcoef(summed_scores(*bed, *switches), expected)[0, 1])

    assert fit(False, False) < 0.86 and fit(False, True) < 0.90 and fit(True, False) < 0.98
