"""`semquery mesh`: from a mesh file to lit faces, without a model; interruptions, bad input, runs."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import trimesh
from fusion_shapes import ball
from helpers import part_tree
from plyfile import PlyData

from semquery import cli
from semquery.fusion import FusionConfig
from semquery.manifest import atomic
from semquery.segmenter import Context, Recorded, Region, SegmenterError
from semquery.stages.mesh import MeshViews, ask_mesh, checked_queries, said_in_words
from semquery.store import Run
from semquery.types import MergeTree, NodeLabel, Surface

RED = (220, 30, 30)
SMALL = MeshViews("ring8+2", 64)


@pytest.fixture
def model(tmp_path) -> Path:
    """A ball whose upper third is red."""
    vertices, faces = ball(2)
    is_red = vertices[faces].mean(1)[:, 1] > 0.3
    mesh = trimesh.Trimesh(vertices, faces, face_colors=np.where(is_red[:, None], (*RED, 255), (120, 120, 120, 255)).astype(np.uint8), process=False)
    path = tmp_path / "ball.ply"
    path.write_bytes(mesh.export(file_type="ply"))
    return path


def is_cap() -> np.ndarray:
    vertices, faces = ball(2)
    return vertices[faces].mean(1)[:, 1] > 0.3


@dataclass
class Reddish:
    """Answers with what is red; fails for some views, and remembers what it was asked."""

    away: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    identity: str = "Reddish"

    def check(self) -> str:
        return "reddish"

    def segment(self, image: np.ndarray, query: str, context: Context = Context()) -> list[Region]:
        self.asked.append(context.view)
        if context.view in self.away + self.refused:
            raise SegmenterError(f"no answer for {context.view}.", is_away=context.view in self.away)
        mask = image[..., 0].astype(int) > 2 * image[..., 1]
        return [Region(mask, 0.9, text=f"it is red in {context.view}")] if mask.any() else []


def masks_in(folder: Path, out: Path) -> Path:
    """What is red in the pictures of an earlier answer, as mask files."""
    from PIL import Image

    folder.mkdir()
    for path in sorted((out / "views").glob("*.png")):
        image = np.asarray(Image.open(path)).astype(int)
        mask = (image[..., 0] > 2 * image[..., 1]).astype(np.uint8) * 100
        with atomic(folder / f"mask_{path.stem.split('_')[1]}.png") as temporary:
            Image.fromarray(mask).save(temporary, "PNG")
    return folder


def test_a_mesh_is_asked_and_the_folder_has_all_of_the_answer(model, tmp_path):
    (found,) = ask_mesh(model, ["the red part"], Reddish(), tmp_path / "out", how=SMALL)
    out = tmp_path / "out"
    assert (found.mask == is_cap()).mean() > 0.97
    arrays = np.load(out / "faces.npz")
    np.testing.assert_array_equal(arrays["mask"], found.mask[None])
    np.testing.assert_allclose(arrays["scores"], found.scores[None], rtol=1e-6)
    assert arrays["queries"].tolist() == ["the red part"] and (arrays["pixels"] > 0).mean() > 0.9
    ply = PlyData.read(str(out / "found.ply"))
    np.testing.assert_array_equal(ply["face"]["answer"] >= 0, found.mask)
    assert set(ply["face"]["red"][found.mask]) == {235}
    scene = trimesh.load(out / "found.glb")
    assert {name: len(mesh.faces) for name, mesh in scene.geometry.items()} == {"the red part": found.mask.sum(), "rest": (~found.mask).sum()}
    record = json.loads((out / "result.json").read_text())
    assert record["schema"] == "semquery/mesh" and record["num_faces"] == 320 and record["failed"] == {}
    (answer,) = record["answers"]
    assert answer["num_faces"] == found.mask.sum() and answer["explanation"] == found.explanation
    assert [view["view"] for view in answer["views"]] == [camera["name"] for camera in record["cameras"]] == [f"view_{k}" for k in range(10)]
    assert sorted(p.name for p in out.glob("*.png")) == ["picture.png", "views-the-red-part.png"]


def test_the_cameras_that_are_told_see_what_the_pictures_show(model, tmp_path):
    from semquery.render import RayCaster, load_colored_mesh

    ask_mesh(model, ["the red part"], Reddish(), tmp_path / "out", how=SMALL)
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    mesh = load_colored_mesh(model)
    from semquery.pictures import load_photo

    for camera in record["cameras"][:3]:
        intrinsics = np.array([camera[k] for k in ("fl_x", "fl_y", "cx", "cy")])
        hits = RayCaster(mesh.vertices, mesh.faces).cast(np.array(camera["transform_matrix"]), intrinsics, (64, 64))
        shown = (load_photo(tmp_path / "out" / "views" / f"{camera['name']}.png") < 250).any(-1)
        assert (hits.mask == shown).mean() > 0.99


def test_what_was_answered_is_not_asked_again_and_other_settings_cost_nothing(model, tmp_path):
    first, second = Reddish(), Reddish()
    ask_mesh(model, ["the red part"], first, tmp_path / "out", how=SMALL)
    ask_mesh(model, ["the red part"], second, tmp_path / "out", FusionConfig("reasoning3d"), SMALL)
    assert len(first.asked) == 10 and second.asked == []


def test_a_segmenter_that_goes_away_stops_the_work_and_nothing_is_lost(model, tmp_path, capsys):
    gone = Reddish(away=("view_3", "view_4", "view_5"))
    with pytest.raises(ValueError, match="What was answered is kept"):
        ask_mesh(model, ["the red part"], gone, tmp_path / "out", how=SMALL)
    again = Reddish()
    (found,) = ask_mesh(model, ["the red part"], again, tmp_path / "out", how=SMALL)
    assert again.asked == [f"view_{k}" for k in range(3, 10)] and (found.mask == is_cap()).mean() > 0.97


def test_a_picture_that_fails_is_told_and_the_others_are_fused(model, tmp_path):
    (found,) = ask_mesh(model, ["the red part"], Reddish(refused=("view_1",)), tmp_path / "out", how=SMALL)
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["failed"] == {"the red part / view_1": "no answer for view_1."} and found.views[1].num_regions == 0 and found.mask.any()
    assert found.views[1].failed == "no answer for view_1." and "view_1" not in found.dissenting
    assert "  left out, for want of an answer: 1 of 10 views; view_1: no answer for view_1." in said_in_words(found)


def test_when_every_picture_fails_it_is_said_why(model, tmp_path):
    with pytest.raises(ValueError, match="failed on every picture: no answer for view_0"):
        ask_mesh(model, ["the red part"], Reddish(refused=tuple(f"view_{k}" for k in range(10))), tmp_path / "out", how=SMALL)


@pytest.mark.parametrize("queries, says", [((), "nothing asked for"), (("arm", " "), "nothing asked for"), (("arm", "arm "), "asked for twice"), (("leg", "an arm", "An arm?"), "twice: 'an arm'")])
def test_queries_that_are_none_are_refused(queries, says):
    with pytest.raises(ValueError, match=says):
        checked_queries(queries)


def test_the_command_takes_masks_made_elsewhere(model, tmp_path, capsys):
    ask_mesh(model, ["the red part"], Reddish(), tmp_path / "first", how=SMALL)
    masks = masks_in(tmp_path / "masks", tmp_path / "first")
    arguments = ["mesh", str(model), "the red part", "segmenter:recorded", "--segmenter.folder", str(masks), "--size", "64", "--out", str(tmp_path / "second")]
    assert cli.main(arguments) == 0
    assert "“the red part”" in capsys.readouterr().out
    assert (np.load(tmp_path / "second" / "faces.npz")["mask"][0] == is_cap()).mean() > 0.95


def test_several_queries_share_the_faces(model, tmp_path, capsys):
    ask_mesh(model, ["the red part"], Reddish(), tmp_path / "first", how=SMALL)
    masks_in(tmp_path / "masks", tmp_path / "first")
    (tmp_path / "recorded").mkdir()
    (tmp_path / "masks").rename(tmp_path / "recorded" / "red-part")
    arguments = ["mesh", str(model), "red part", "wings", "segmenter:recorded", "--segmenter.folder", str(tmp_path / "recorded"), "--size", "64"]
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "“wings”: 0 of 320 faces, from 0 of 8 views" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").glob("views-*.png")) == ["views-red-part.png", "views-wings.png"]


@pytest.mark.parametrize("name, says", [("gone.obj", "There is no mesh"), ("cloud.ply", "no triangles"), ("words.obj", "no triangles|cannot be read")])
def test_what_is_no_mesh_is_told(tmp_path, capsys, name, says):
    if name == "cloud.ply":
        (tmp_path / name).write_bytes(trimesh.PointCloud(np.eye(3)).export(file_type="ply"))
    elif name == "words.obj":
        (tmp_path / name).write_text("no mesh")
    with pytest.raises(ValueError, match=says):
        ask_mesh(tmp_path / name, ["arm"], Reddish(), tmp_path / "out")


def test_an_answer_is_not_written_into_a_run_or_over_a_file(model, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="is a run"):
        ask_mesh(model, ["arm"], Reddish(), tmp_path / "run")
    with pytest.raises(ValueError, match="cannot be made"):
        ask_mesh(model, ["arm"], Reddish(), model)


# ------------------------------------------------------------------ with a run


def run_of_ball(path: Path, shift: float = 0.0) -> Path:
    """A run whose surface are the middles of the ball's faces, and whose tree is ((cap, belt), bottom)."""
    vertices, faces = ball(2)
    points = (vertices[faces].mean(1) + shift).astype(np.float32)
    part = np.where(points[:, 1] > 0.3 + shift, 0, np.where(points[:, 1] > shift - 0.3, 1, 2))
    run = Run(path, create=True)
    run.write_surface(Surface(points, points, np.zeros((320, 3), np.uint8), np.zeros((320, 0), np.float16), np.arange(320, dtype=np.int32), 0.05))
    merge = MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32))
    run.write_tree(merge, np.array([[0, 1]]), np.array([0.5]), part_tree([3, 3, 4, 4, 4], part))
    for k, name in enumerate(["cap", "belt", "bottom", "upper part", "ball"]):
        run.append_label(NodeLabel(k, name), "")
    return path


def test_with_a_run_of_the_same_mesh_the_answer_is_told_as_parts(model, tmp_path):
    (found,) = ask_mesh(model, ["the red part"], Reddish(), tmp_path / "out", how=SMALL, run=run_of_ball(tmp_path / "run"))
    np.testing.assert_array_equal(found.mask, is_cap())
    assert found.nodes == (0,) and found.node == 0 and found.node_iou == pytest.approx(1)
    assert "part 0 overlaps it best, by 1.00" in said_in_words(found)[-1]
    (answer,) = json.loads((tmp_path / "out" / "result.json").read_text())["answers"]
    assert answer["nodes"] == [{"part": 0, "path": ["upper part", "cap"]}] and answer["best_node"]["part"] == 0


def test_a_run_of_another_mesh_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="outside of the mesh"):
        ask_mesh(model, ["the red part"], Reddish(), tmp_path / "out", how=SMALL, run=run_of_ball(tmp_path / "run", shift=9.0))
    other = Run(run_of_ball(tmp_path / "other"))
    other.begin("observe", {"faces": 12})
    with pytest.raises(ValueError, match="has 320 faces, and the mesh that .* was made from 12"):
        ask_mesh(model, ["the red part"], Reddish(), tmp_path / "out", how=SMALL, run=other.path)
    with pytest.raises(ValueError, match="no parts.npz yet"):
        ask_mesh(model, ["the red part"], Reddish(), tmp_path / "out", how=SMALL, run=Run(tmp_path / "empty", create=True).path)


# ------------------------------------------------------------------ masks in a folder


def write_mask(path: Path, mask: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 100).save(path)


def test_recorded_masks_are_found_by_number_or_name_and_brought_to_the_pictures_size(tmp_path):
    mask = np.zeros((8, 12), bool)
    mask[2:5, 3:9] = True
    image = np.zeros((16, 24, 3), np.uint8)
    for k, name in enumerate(["mask_0.png", "1.png", "view_2.png", "mask_view_3.png"]):
        write_mask(tmp_path / name, mask)
        (region,) = Recorded(tmp_path).segment(image, "arm", Context(f"view_{k}"))
        np.testing.assert_array_equal(region.mask, mask.repeat(2, 0).repeat(2, 1))
    assert Recorded(tmp_path).segment(image, "arm", Context("view_9")) == []
    assert Recorded(tmp_path).identity != Recorded(tmp_path, threshold=99).identity


def test_views_that_share_a_number_do_not_share_a_recorded_mask(tmp_path):
    write_mask(tmp_path / "mask_3.png", np.ones((4, 4)))
    image = np.zeros((4, 4, 3), np.uint8)
    assert [len(Recorded(tmp_path).segment(image, "arm", Context(view))) for view in ("view_3", "frame_00003", "3", "door_03", "lamp_3")] == [1, 1, 1, 0, 0]


def test_a_query_without_recorded_masks_has_failed_and_is_not_invisible(tmp_path):
    write_mask(tmp_path / "left-arm" / "view_0.png", np.ones((4, 4)))
    image = np.zeros((4, 4, 3), np.uint8)
    assert len(Recorded(tmp_path).segment(image, "Left arm?", Context("view_0"))) == 1
    assert Recorded(tmp_path).segment(image, "left arm", Context("view_1")) == []
    with pytest.raises(SegmenterError, match="holds no masks for 'right arm': expected some in it, or in .*right-arm"):
        Recorded(tmp_path).segment(image, "right arm", Context("view_0"))


def test_boxes_cut_the_recorded_mask_and_stand_for_one_that_is_missing(tmp_path):
    mask = np.ones((10, 10), bool)
    write_mask(tmp_path / "mask_0.png", mask)
    entries = [{"view": 0, "boxes": [[1, 2, 4, 6], [5, 5, 9, 9]], "scores": [0.5, 0.7], "texts": ["a", "b"]}, {"view": "view_1", "boxes": [[0, 0, 2, 3]], "scores": [1]}]
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    image = np.zeros((10, 10, 3), np.uint8)
    first, second = Recorded(tmp_path).segment(image, "arm", Context("view_0"))
    assert (first.mask.sum(), second.mask.sum(), first.score, second.text) == (12, 16, 0.5, "b") and first.mask[2:6, 1:4].all()
    (alone,) = Recorded(tmp_path).segment(image, "arm", Context("view_1"))
    assert alone.mask.sum() == 6
    assert Recorded(tmp_path).segment(image, "arm", Context("view_2")) == []


def test_recorded_folders_that_cannot_be_used_are_told(tmp_path):
    with pytest.raises(ValueError, match="There is no folder"):
        Recorded(tmp_path / "gone").check()
    with pytest.raises(ValueError, match="no masks"):
        Recorded(tmp_path).check()
    (tmp_path / "mask_0.png").write_bytes(b"no picture")
    with pytest.raises(SegmenterError, match="mask_0.png"):
        Recorded(tmp_path).segment(np.zeros((4, 4, 3), np.uint8), "arm", Context("view_0"))
    write_mask(tmp_path / "mask_0.png", np.ones((4, 8)))
    with pytest.raises(SegmenterError, match="same shape"):
        Recorded(tmp_path).segment(np.zeros((4, 4, 3), np.uint8), "arm", Context("view_0"))
    (tmp_path / "boxes.json").write_text('[{"view": 0, "boxes": [[1, 2, 3, 4]], "scores": []}]')
    with pytest.raises(SegmenterError, match="1 boxes, 0 scores"):
        Recorded(tmp_path).segment(np.zeros((4, 8, 3), np.uint8), "arm", Context("view_0"))
    (tmp_path / "boxes.json").write_text("[1]")
    with pytest.raises(SegmenterError, match="boxes.json cannot be read"):
        Recorded(tmp_path).segment(np.zeros((4, 8, 3), np.uint8), "arm", Context("view_0"))
