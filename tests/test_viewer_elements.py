"""What is drawn in the viewer, and how little is sent for it: a page that only keeps books stands in for viser's."""

import io
import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import named_run, part_tree, random_parts, small_cameras
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from semquery.export.faces import part_of_face
from semquery.export.splats import SH_C0, read_T_world_splats
from semquery.render import Mesh
from semquery.spans import Spans
from semquery.types import Surface
from semquery.viewer import MODES, Heat, Loaded, Shown, load
from semquery.viewer.colours import Look, dimmed, point_colors, tinted
from semquery.viewer.elements import MeshElements, PointElements, SplatElements, chunks, open_mesh, open_splats
from semquery.viewer.elements.chunks import chunks_of
from semquery.viewer.elements.mesh import faces_of
from semquery.viewer.elements.splats import covariances_of, gaussians_of, log_scales_of
from semquery.viewer.explode import offsets

CHUNKS_OF_POINTS = "semquery.viewer.elements.points.PointCloud.num_chunks"

# ------------------------------------------------------------------ a page that keeps books


@dataclass
class Handle:
    """A node of the page: what viser's handles have."""

    page: "Page"
    name: str
    data: dict
    _position: np.ndarray
    visible: bool

    @property
    def position(self):
        return self._position

    @position.setter
    def position(self, value):
        assert np.asarray(value).shape == (3,)
        self._position = np.asarray(value, np.float64)

    def remove(self):
        del self.page.nodes[self.name]


@dataclass
class Page:
    """A viser server and its page in one: the nodes there are, and how many items they were sent."""

    nodes: dict[str, Handle] = field(default_factory=dict)
    num_items: int = 0
    num_messages: int = 0

    @property
    def scene(self):
        return self

    def _add(self, name, position, visible, **data):
        sizes = {len(value) for value in data.values() if isinstance(value, np.ndarray)}
        assert len(sizes) == 1
        self.num_items, self.num_messages = self.num_items + sizes.pop(), self.num_messages + 1
        self.nodes[name] = Handle(self, name, data, np.asarray(position, np.float64), visible)
        return self.nodes[name]

    def add_point_cloud(self, name, points, colors, point_size, point_shape, position, visible):
        return self._add(name, position, visible, points=points.copy(), colors=colors.copy(), size=point_size)

    def add_glb(self, name, glb_data, position, visible):
        corners, colors = triangles(glb_data)
        return self._add(name, position, visible, points=corners, colors=colors)

    def _add_gaussian_splats(self, name, centers, covariances, rgbs, opacities, position, visible=True):
        assert name not in self.nodes or len(centers) == 1, "viser does not show what is sent under the name of a splat node again"
        return self._add(name, position, visible, points=centers.copy(), covariances=covariances, colors=rgbs.copy(), opacities=opacities)

    def seen(self) -> set[tuple]:
        """(place, colour) of everything that is visible."""
        found = [(tuple(np.round(place + node.position, 4).ravel().tolist()), tuple(color.ravel().tolist()))
                 for node in self.nodes.values() if node.visible
                 for place, color in zip(node.data["points"], node.data["colors"], strict=True)]
        assert len(found) == len(set(found)), "something is drawn twice"
        return set(found)

    def sent_by(self, action) -> int:
        before = self.num_items
        action()
        return self.num_items - before


def triangles(glb: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Corners [k, 3, 3] and the linear colour of each triangle [k, 4] (its corners have one colour) of a GLB of one mesh or none."""
    length = struct.unpack("<I", glb[12:16])[0]
    document, binary = json.loads(glb[20 : 20 + length]), glb[20 + length + 8 :]
    if "meshes" not in document:
        return np.zeros((0, 3, 3)), np.zeros((0, 4), np.uint16)
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    found = []
    for name, kind, width in (("POSITION", "<f4", 3), ("COLOR_0", "<u2", 4)):
        accessor = document["accessors"][attributes[name]]
        offset = document["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
        found.append(np.frombuffer(binary, kind, accessor["count"] * width, offset).reshape(-1, 3, width))
    assert (found[1] == found[1][:, :1]).all()
    return found[0], found[1][:, 0]


# ------------------------------------------------------------------ scenes


def scene_of(tree, random: np.random.Generator, num_features: int = 4) -> Loaded:
    num = len(tree.part_of_point)
    along, across = random.permutation(8 * num)[:num], random.integers(0, 5, (num, 2))
    points = np.column_stack([0.1 * along, across]).astype(np.float32)
    surface = Surface(points, np.zeros_like(points), random.integers(0, 256, (num, 3)).astype(np.uint8),
                      random.normal(size=(num, num_features)).astype(np.float16), np.arange(num, dtype=np.int32), 0.5)
    return Loaded(surface, tree, {}, small_cameras(), Spans(tree, surface), None)


def random_scene(seed: int, num_parts: int = 12, num_points: int = 60) -> Loaded:
    random = np.random.default_rng(seed)
    return scene_of(random_parts(random, num_parts, num_points), random)


def wide_scene(num_parts: int = 400, each: int = 5) -> Loaded:
    """All parts below the root, `each` points in every one: with 100 chunks, four parts in each."""
    random = np.random.default_rng(0)
    return scene_of(part_tree([num_parts] * (num_parts + 1), np.repeat(np.arange(num_parts), each)), random)


def random_state(random: np.random.Generator, loaded: Loaded) -> tuple[Shown, Look]:
    num = loaded.tree.num_parts
    lit = loaded.spans.highest(random.integers(0, num, random.integers(0, 3)).tolist())
    heat = Heat("handle", random.random(num).astype(np.float32)) if random.random() < 0.7 else None
    shown = Shown(loaded, level=int(random.integers(0, 5)), lit=tuple(lit), mode=str(random.choice(MODES)), heat=heat)
    look = Look(str(random.choice(["photo", "photo", "parts", "relevancy", "features"])), float(random.choice([0.0, 0.0, 0.4, 1.0])),
                float(random.choice([1.0, 2.0])))
    return shown, look


def slowly_seen(shown: Shown, look: Look, items: Loaded, offset_of_item: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(item, how far it has moved, its colour) of all that is to be seen, one item after another."""
    tree, found = shown.loaded.tree, []
    if look.colouring == "features":
        away = np.linalg.norm(items.surface.points[:, None] - shown.loaded.surface.points, axis=2)
        base = point_colors(shown, "features")[away.argmin(1)]
    else:
        base = point_colors(replace(shown, loaded=items), look.colouring)
    for k, part in enumerate(items.tree.part_of_point):
        above = [part]
        while above[-1] != tree.root:
            above.append(tree.parents[above[-1]])
        is_lit = bool(set(above) & set(shown.lit))
        color = base[k]
        if shown.lit and shown.mode == "tint" and is_lit:
            color = tinted(base[k : k + 1], np.array([True]))[0]
        elif shown.lit and shown.mode == "tint" and not (look.colouring == "relevancy" and shown.heat):
            color = dimmed(base[k])
        if shown.mode == "tint" or not shown.lit or is_lit == (shown.mode == "isolate"):
            found.append((k, offset_of_item[k], color))
    return found


def expected_points(shown: Shown, look: Look) -> set[tuple]:
    loaded = shown.loaded
    away = offsets(loaded, shown.level, look.explode)
    return {(tuple(np.round(loaded.surface.points[k].astype(np.float64) + moved, 4).tolist()), tuple(color.tolist()))
            for k, moved, color in slowly_seen(shown, look, loaded, away)}


def same(seen: set[tuple], expected: set[tuple]) -> None:
    """The same things in the same colours, at the same places but for rounding."""
    def ordered(things):
        return sorted(things, key=lambda thing: (thing[1], np.round(thing[0], 2).tolist()))

    assert [color for _, color in ordered(seen)] == [color for _, color in ordered(expected)]
    if seen:
        np.testing.assert_allclose(*([place for place, _ in ordered(things)] for things in (seen, expected)), atol=2e-3)


# ------------------------------------------------------------------ chunks


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(0, 80), st.integers(1, 12), st.none() | st.integers(0, 4))
def test_chunks_are_runs_of_whole_ranks_that_hold_every_item_once(seed, num_parts, num_points, num_chunks, level):
    tree = random_parts(np.random.default_rng(seed), num_parts, num_points)
    spans = Spans(tree)
    found = chunks_of(spans, None if level is None else tree.level(level), num_chunks)
    assert [chunk.begin for chunk in found] == [0, *(chunk.end for chunk in found)][: len(found)]
    assert (found[-1].end if found else 0) == num_points
    for chunk in found:
        assert chunk.begin < chunk.end
        assert {chunk.begin, chunk.end} <= set(spans.points.start.tolist())
        of_item = tree.part_of_point[spans.points.items[chunk.begin : chunk.end]]
        assert chunk.end - chunk.begin <= 2 * num_points / num_chunks or len(set(of_item.tolist())) == 1
        together = set() if level is None else set(tree.level(level)[of_item].tolist())
        assert len(together) <= 1
        assert chunk.is_rigid


def test_chunks_are_of_about_as_many_items():
    found = chunks_of(wide_scene().spans, None, 100)
    assert len(found) == 100
    assert {chunk.end - chunk.begin for chunk in found} == {20}


def test_a_part_larger_than_a_chunk_is_not_cut():
    spans = Spans(part_tree([2, 2, 2], [0] * 90 + [1] * 5 + [2] * 5))
    assert [(chunk.begin, chunk.end) for chunk in chunks_of(spans, None, 10)] == [(0, 5), (5, 95), (95, 100)]


def test_more_groups_than_are_moved_as_nodes_leave_chunks_that_do_not_move_as_a_whole():
    loaded = wide_scene()
    found = chunks_of(loaded.spans, loaded.tree.level(1), 100)
    assert len(found) == 100
    assert not any(chunk.is_rigid for chunk in found)


# ------------------------------------------------------------------ points


@pytest.mark.parametrize("most_groups", [256, 2])
@pytest.mark.parametrize("seed", range(6))
def test_after_any_state_each_point_is_drawn_where_and_how_it_should_be(seed, most_groups, monkeypatch):
    monkeypatch.setattr(chunks, "MOST_GROUPS", most_groups)
    monkeypatch.setattr(CHUNKS_OF_POINTS, 5)
    random = np.random.default_rng(seed)
    scenes, page, elements = [random_scene(seed), random_scene(seed + 100)], Page(), PointElements()
    for _ in range(25):
        shown, look = random_state(random, scenes[int(random.random() < 0.15)])
        elements.paint(page, shown, look)
        same(page.seen(), expected_points(shown, look))
        assert {node.data["size"] for node in page.nodes.values() if node.visible} <= {look.point_size * 0.5}


@given(st.integers(0, 10_000))
def test_what_is_clicked_is_what_is_seen(seed):
    random = np.random.default_rng(seed)
    shown, look = random_state(random, random_scene(seed))
    points, visible = PointElements().points(shown, look)
    seen = {k: moved for k, moved, _ in slowly_seen(shown, look, shown.loaded, offsets(shown.loaded, shown.level, look.explode))}
    assert set(np.flatnonzero(visible).tolist()) == seen.keys()
    for k, moved in seen.items():
        np.testing.assert_allclose(points[k], shown.loaded.surface.points[k] + moved, atol=1e-5)


def test_a_selection_sends_the_chunks_that_it_touches_and_nothing_else(monkeypatch):
    monkeypatch.setattr(CHUNKS_OF_POINTS, 100)
    loaded, page, elements = wide_scene(), Page(), PointElements()
    shown, num, chunk = Shown(loaded), 400 * 5, 4 * 5
    assert page.sent_by(lambda: elements.paint(page, shown, Look())) == 2 * num  # as captured, and how they will be beside a selection
    for part in (17, 300):
        assert page.sent_by(lambda: elements.paint(page, replace(shown, lit=(part,)), Look())) == chunk
    assert page.sent_by(lambda: elements.paint(page, replace(shown, lit=(300,)), Look())) == 0
    assert page.sent_by(lambda: elements.paint(page, shown, Look())) == 0


def test_isolating_and_hiding_send_at_most_the_chunks_that_are_cut_through(monkeypatch):
    monkeypatch.setattr(CHUNKS_OF_POINTS, 100)
    loaded, page, elements = wide_scene(), Page(), PointElements()
    elements.paint(page, Shown(loaded), Look())
    assert page.sent_by(lambda: elements.paint(page, Shown(loaded, lit=(17,), mode="isolate"), Look())) == 5
    assert page.sent_by(lambda: elements.paint(page, Shown(loaded, lit=(17,), mode="hide"), Look())) == 15
    assert page.sent_by(lambda: elements.paint(page, Shown(loaded, lit=(400,), mode="isolate"), Look())) == 0  # the whole


def test_taking_apart_sends_what_is_cut_anew_once_and_then_only_moves():
    random = np.random.default_rng(0)
    loaded, page, elements = scene_of(part_tree([4, 4, 5, 5, 5, 5], np.repeat(np.arange(4), 500)), random), Page(), PointElements()
    shown = Shown(loaded, level=1)
    elements.paint(page, shown, Look())
    elements.paint(page, shown, Look(explode=0.1))
    for amount in (0.2, 0.9, 0.0, 0.5):
        assert page.sent_by(lambda: elements.paint(page, shown, Look(explode=amount))) == 0
    same(page.seen(), expected_points(shown, Look(explode=0.5)))


def test_a_threshold_sends_only_the_chunks_whose_colours_change(monkeypatch):
    monkeypatch.setattr(CHUNKS_OF_POINTS, 100)
    loaded, page, elements = wide_scene(), Page(), PointElements()
    raw = np.zeros(401, np.float32)
    raw[3] = 0.6
    shown, look = Shown(loaded, heat=Heat("handle", raw)), Look("relevancy")
    elements.paint(page, shown, look)
    assert page.sent_by(lambda: elements.paint(page, replace(shown, threshold=0.7), look)) == 20


def test_new_names_send_nothing():
    loaded, page, elements = random_scene(1), Page(), PointElements()
    elements.paint(page, Shown(loaded), Look())
    assert page.sent_by(lambda: elements.paint(page, Shown(replace(loaded, notice="renamed")), Look())) == 0


def test_another_tree_leaves_nothing_of_the_earlier_one():
    page, elements = Page(), PointElements()
    elements.paint(page, Shown(random_scene(1)), Look())
    elements.paint(page, Shown(random_scene(2, num_points=7)), Look())
    assert sum(len(node.data["points"]) for node in page.nodes.values()) == 2 * 7


@pytest.mark.parametrize("away", [lambda elements, page: elements.clear(), lambda elements, page: elements.paint(page, Shown(), Look())])
def test_without_a_run_the_page_is_empty_and_can_be_filled_again(away):
    page, elements, shown = Page(), PointElements(), Shown(random_scene(1))
    elements.paint(page, shown, Look())
    away(elements, page)
    assert page.nodes == {}
    elements.paint(page, shown, Look())
    same(page.seen(), expected_points(shown, Look()))


def test_there_is_nothing_to_click_without_a_run():
    points, visible = PointElements().points(Shown(), Look(explode=1.0))
    assert points.shape == (0, 3)
    assert visible.shape == (0,)


def test_points_that_are_no_numbers_are_not_sent():
    loaded = random_scene(1)
    loaded.surface.points[5] = np.nan
    page = Page()
    PointElements().paint(page, Shown(loaded), Look())
    assert len(page.seen()) == 59


def test_a_surface_without_features_is_drawn_as_it_was_captured():
    tree, page = random_parts(np.random.default_rng(0), 5, 20), Page()
    shown = Shown(scene_of(tree, np.random.default_rng(0), num_features=0))
    PointElements().paint(page, shown, Look("features"))
    same(page.seen(), expected_points(shown, Look()))


def test_a_scene_without_points_is_drawn_as_nothing():
    tree, page = part_tree([0], np.zeros(0, int)), Page()
    PointElements().paint(page, Shown(scene_of(tree, np.random.default_rng(0)), lit=(0,)), Look())
    assert page.seen() == set()


# ------------------------------------------------------------------ faces


def tiled(loaded: Loaded) -> Mesh:
    """A small square of two faces around every point of a scene."""
    corners = loaded.surface.points[:, None] + np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * 0.01
    faces = np.arange(4 * len(corners)).reshape(-1, 4)[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    colors = np.repeat(loaded.surface.colors, 2, 0)
    return Mesh(corners.reshape(-1, 3), faces.astype(np.int32), colors)


@pytest.mark.parametrize("most_groups", [256, 2])
def test_after_any_state_each_face_is_drawn_where_and_how_it_should_be(most_groups, monkeypatch):
    from semquery.export.glb import linear

    monkeypatch.setattr(chunks, "MOST_GROUPS", most_groups)
    monkeypatch.setattr("semquery.viewer.elements.mesh.Faces.num_chunks", 5)
    loaded, random, page = random_scene(3), np.random.default_rng(3), Page()
    mesh = tiled(loaded)
    elements, items = MeshElements(mesh, Path("mesh.ply")), faces_of(loaded, mesh, Path("mesh.ply")).items
    corners, part = mesh.vertices[mesh.faces].astype(np.float64), part_of_face(loaded.surface, loaded.tree, mesh)
    point_of_face = np.array([int(np.flatnonzero(loaded.tree.part_of_point == p)[0]) for p in part])  # any of its part
    for _ in range(25):
        shown, look = random_state(random, loaded)
        elements.paint(page, shown, look)
        away = offsets(loaded, shown.level, look.explode)[point_of_face]
        same(page.seen(), {(tuple(np.round(corners[k] + moved, 4).ravel().tolist()), tuple(linear(color[None])[0].tolist()))
                           for k, moved, color in slowly_seen(shown, look, items, away)})


def test_faces_are_read_alike_by_an_independent_reader():
    import trimesh

    loaded, page, glbs = random_scene(3), Page(), []
    page.add_glb = lambda name, glb_data, position, visible: (glbs.append(glb_data), Handle(page, name, {}, np.zeros(3), visible))[1]
    mesh = tiled(loaded)
    MeshElements(mesh, Path("mesh.ply")).paint(page, Shown(loaded, lit=(loaded.tree.root,), mode="isolate"), Look())
    read = [trimesh.load(io.BytesIO(glb), file_type="glb", force="mesh", process=False) for glb in glbs]
    triangles_read = np.concatenate([each.triangles for each in read])
    assert {tuple(t.ravel().tolist()) for t in triangles_read} == {tuple(t.ravel().tolist()) for t in mesh.vertices[mesh.faces]}


def test_a_mesh_that_lies_elsewhere_is_told(tmp_path):
    import trimesh

    loaded = random_scene(3)
    path = tmp_path / "box.ply"
    trimesh.creation.box((0.1, 0.1, 0.1)).apply_translation((900, 0, 0)).export(path)
    with pytest.raises(ValueError, match="outside of the mesh .*box.ply"):
        open_mesh(path, loaded)
    with pytest.raises(ValueError, match="outside of the mesh"):
        open_mesh(path).paint(Page(), Shown(loaded), Look())
    with pytest.raises(ValueError, match="There is no mesh at"):
        open_mesh(tmp_path / "gone.ply")


# ------------------------------------------------------------------ splats


def splat_ply(loaded: Loaded, random: np.random.Generator, more: np.ndarray = np.zeros((0, 3)), flat: bool = False):
    """A Gaussian at every point of a scene, in its colour, and further grey ones (plyfile.PlyData)."""
    from plyfile import PlyData, PlyElement

    centres = np.concatenate([loaded.surface.points, more])
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", *([] if flat else ["scale_2"]),
             "rot_0", "rot_1", "rot_2", "rot_3"]
    rows = np.zeros(len(centres), [(name, "f4") for name in names])
    colors = np.concatenate([loaded.surface.colors, np.full((len(more), 3), 128)])
    for axis in range(3):
        rows["xyz"[axis]], rows[f"f_dc_{axis}"] = centres[:, axis], (colors[:, axis] / 255 - 0.5) / SH_C0
    for name in names[6:]:
        rows[name] = random.normal(-1, 0.5, len(rows))
    return PlyData([PlyElement.describe(rows, "vertex")])


@pytest.mark.parametrize("most_groups", [256, 2])
def test_after_any_state_each_splat_is_drawn_where_and_how_it_should_be(most_groups, monkeypatch):
    monkeypatch.setattr(chunks, "MOST_GROUPS", most_groups)
    loaded, random, page = random_scene(4), np.random.default_rng(4), Page()
    elements = SplatElements(splat_ply(loaded, random))
    for _ in range(25):
        shown, look = random_state(random, loaded)
        elements.paint(page, shown, look)
        same(page.seen(), expected_points(shown, look))


def test_a_splat_far_from_the_surface_belongs_to_the_scene_as_a_whole():
    loaded, random = random_scene(4), np.random.default_rng(4)
    elements, page = SplatElements(splat_ply(loaded, random, np.array([[500.0, 0, 0]]))), Page()
    is_there = [any(place[0] == 500.0 for place, _ in page.seen()) for lit in ((), (2,), (loaded.tree.root,))
                if elements.paint(page, Shown(loaded, lit=lit, mode="isolate"), Look()) is None]
    assert is_there == [True, False, True]


def test_splats_of_another_frame_are_turned_scaled_and_moved_into_that_of_the_capture(tmp_path):
    loaded, random = random_scene(4), np.random.default_rng(4)
    turn, scale, shift = Rotation.from_rotvec([0.3, -0.2, 0.9]).as_matrix(), 0.25, np.array([1.0, 2.0, 3.0])
    ply = splat_ply(loaded, random)
    centres = scale * (loaded.surface.points @ turn.T + shift)
    for axis in range(3):
        ply["vertex"].data["xyz"[axis]] = centres[:, axis]
    ply.write(str(tmp_path / "splats.ply"))
    transform = tmp_path / "dataparser_transforms.json"
    transform.write_text(json.dumps({"transform": np.column_stack([turn, shift]).tolist(), "scale": scale}))
    made = open_splats(tmp_path / "splats.ply", loaded, read_T_world_splats(transform)).fit(loaded)
    np.testing.assert_allclose(made.items.surface.points, loaded.surface.points, atol=1e-4)
    rows = ply["vertex"].data
    own = covariances_of(log_scales_of(rows), np.stack([rows[f"rot_{k}"].astype(np.float64) for k in range(4)], 1))
    np.testing.assert_allclose(made.covariances, turn.T @ own @ turn / scale**2, rtol=1e-4, atol=1e-5)


def test_covariances_are_those_of_rotated_axes():
    random = np.random.default_rng(0)
    log_scales, quaternions = random.normal(-2, 1, (40, 3)), random.normal(size=(40, 4)) * random.uniform(0.1, 9, (40, 1))
    for found, log_scale, (w, x, y, z) in zip(covariances_of(log_scales, quaternions), log_scales, quaternions, strict=True):
        turn = Rotation.from_quat([x, y, z, w]).as_matrix()
        np.testing.assert_allclose(found, turn @ np.diag(np.exp(log_scale)) ** 2 @ turn.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("flat", [False, True])
def test_what_is_sent_of_splats_can_be_factored(flat):
    loaded = random_scene(4)
    ply = splat_ply(loaded, np.random.default_rng(0), flat=flat)
    ply["vertex"].data["scale_1"][:20] = -50.0
    made = gaussians_of(loaded, ply, None, None)
    assert np.isfinite(np.linalg.cholesky(made.covariances.astype(np.float64))).all()
    logit = ply["vertex"].data["opacity"].astype(np.float64)
    np.testing.assert_array_equal(made.opacities[:, 0], np.round(255 / (1 + np.exp(-logit))))


def test_splats_that_are_no_numbers_are_left_out():
    loaded = random_scene(4)
    ply = splat_ply(loaded, np.random.default_rng(0))
    rows = ply["vertex"].data
    rows["x"][0], rows["rot_2"][1], rows["scale_0"][2], rows["opacity"][3], rows["f_dc_1"][4] = np.nan, np.inf, np.nan, np.nan, np.inf
    page = Page()
    with np.errstate(all="ignore"):
        SplatElements(ply).paint(page, Shown(loaded), Look())
    assert len(page.seen()) == 57
    assert all(np.isfinite(node.data["covariances"]).all() for node in page.nodes.values())


def test_splats_that_lie_elsewhere_are_told(tmp_path):
    loaded, random = random_scene(4), np.random.default_rng(0)
    ply = splat_ply(loaded, random)
    ply["vertex"].data["x"] += 1000
    ply.write(str(tmp_path / "far.ply"))
    with pytest.raises(ValueError, match="None of the 60 splats lies within reach of the surface"):
        open_splats(tmp_path / "far.ply", loaded)
    with pytest.raises(ValueError, match="There is no file"):
        open_splats(tmp_path / "gone.ply")


def test_a_selection_of_splats_sends_chunks_under_new_names_and_forgets_the_old():
    loaded, page = wide_scene(), Page()
    elements = SplatElements(splat_ply(loaded, np.random.default_rng(0)))
    elements.paint(page, Shown(loaded), Look())
    before = set(page.nodes)
    elements.paint(page, Shown(loaded, lit=(3,)), Look())
    assert not before & set(page.nodes)
    again = set(page.nodes)
    elements.paint(page, Shown(loaded, lit=(4,)), Look())
    assert len(again - set(page.nodes)) == 1


def test_viser_draws_splats_by_either_of_its_names():
    from semquery.viewer.elements.splats import _add_splats

    old, new = SimpleNamespace(_add_gaussian_splats="old"), SimpleNamespace(_add_gaussian_splats="old", add_gaussian_splats="new")
    assert [_add_splats(SimpleNamespace(scene=scene)) for scene in (old, new)] == ["old", "new"]


# ------------------------------------------------------------------ viser itself


def test_viser_takes_all_that_is_drawn_of_a_run(tmp_path):
    """Nothing of what the stand-in page accepts is refused by viser: names, types, empty contents, positions."""
    from viewing import open_server

    loaded = load(named_run(tmp_path / "run"))
    ply = splat_ply(loaded, np.random.default_rng(0))
    with open_server() as server:
        for elements in (PointElements(), MeshElements(tiled(loaded), Path("mesh.ply")), SplatElements(ply)):
            for lit, mode in (((), "tint"), ((0,), "tint"), ((3,), "hide"), ((2,), "isolate")):
                shown = Shown(loaded, lit=lit, mode=mode)
                for look in (Look(), Look("parts", explode=0.5), Look(point_size=2.0)):
                    elements.paint(server, shown, look)
            elements.clear()
