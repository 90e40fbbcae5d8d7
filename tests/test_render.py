"""Rays against shapes whose answer is known, and against testing every triangle in turn."""

import numpy as np
import pytest

from semquery.render import RayCaster, load_colored_mesh, load_mesh, look_at, observe, picture, pinhole, pixel_rays, ring
from semquery.types import Cameras

SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
TWO = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
DOWN = look_at(np.array([0.0, 0, 2]), np.zeros(3), up=(0, 1, 0))


def cube() -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    mesh = trimesh.creation.box((2, 2, 2))
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)


def slow_first_hit(vertices, faces, origin, direction):
    """Möller and Trumbore's test of one ray with every triangle."""
    best, hit = np.inf, -1
    for k, (a, b, c) in enumerate(vertices[faces].astype(float)):
        p = np.cross(direction, c - a)
        det = np.dot(b - a, p)
        if abs(det) < 1e-12:
            continue
        u = np.dot(origin - a, p) / det
        q = np.cross(origin - a, b - a)
        v, t = np.dot(direction, q) / det, np.dot(c - a, q) / det
        if u >= 0 and v >= 0 and u + v <= 1 and 0 < t < best:
            best, hit = t, k
    return hit, best


def test_look_at_sees_its_target_straight_ahead_and_is_a_rotation():
    T = look_at(np.array([1.0, -2, 3]), np.array([0.5, 0, 1]))
    np.testing.assert_allclose(T[:3, :3].T @ T[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    ahead = np.linalg.inv(T) @ [0.5, 0, 1, 1]
    np.testing.assert_allclose(ahead[:2], 0, atol=1e-12)
    assert ahead[2] < 0 and T[2, 1] > 0  # in front, and up is up


def test_look_at_refuses_a_view_along_up():
    with pytest.raises(ValueError, match="parallel to up"):
        look_at(np.array([0.0, 0, 2]), np.zeros(3))


def test_ring_cameras_keep_their_distance():
    target = np.array([1.0, 2, 3])
    Ts = ring(target, 2.0, 30, np.arange(0, 360, 45))
    np.testing.assert_allclose(np.linalg.norm(Ts[:, :3, 3] - target, axis=1), 2)
    np.testing.assert_allclose(Ts[:, 2, 3], 4)


def test_rays_of_the_centre_pixel_point_forward():
    origin, rays = pixel_rays(DOWN, pinhole(60, (5, 5)), (5, 5))
    np.testing.assert_allclose(origin, [0, 0, 2])
    np.testing.assert_allclose(rays[2, 2], [0, 0, -1], atol=1e-12)
    assert rays[0, 2][1] > 0 and rays[2, 4][0] > 0  # the first row is up, the last column is right


def test_depth_of_a_plane_is_analytic_and_points_reproject_to_pixel_centres():
    intrinsics = pinhole(50, (24, 32))
    T = look_at(np.array([0.3, -1.5, 1.2]), np.zeros(3))
    hits = RayCaster(SQUARE, TWO).cast(T, intrinsics, (24, 32))
    origin, rays = pixel_rays(T, intrinsics, (24, 32))
    crossing = origin - rays * (origin[2] / rays[..., 2])[..., None]
    inside = (np.abs(crossing[..., :2]) < 1).all(-1) & (rays[..., 2] < 0)
    assert (hits.mask == inside).all() and 100 < inside.sum() < inside.size
    np.testing.assert_allclose(hits.points[inside], crossing[inside], atol=1e-6)
    camera = (hits.points[inside] - T[:3, 3]) @ T[:3, :3]
    columns = intrinsics[0] * camera[:, 0] / -camera[:, 2] + intrinsics[2]
    rows = intrinsics[3] - intrinsics[1] * camera[:, 1] / -camera[:, 2]
    row, column = np.nonzero(inside)
    np.testing.assert_allclose(np.stack([rows, columns], 1), np.stack([row, column], 1) + 0.5, atol=1e-4)
    np.testing.assert_allclose(hits.normals[inside], [[0, 0, 1]] * inside.sum())


def test_every_ray_agrees_with_testing_every_triangle():
    vertices, faces = cube()
    random = np.random.default_rng(0)
    origins = random.normal(size=(200, 3))
    origins *= 4 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = random.uniform(-1.2, 1.2, (200, 3)) - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    face, points, normals = RayCaster(vertices, faces).trace(origins, directions)
    for k in range(200):
        slow, depth = slow_first_hit(vertices, faces, origins[k], directions[k])
        assert face[k] == slow
        if slow >= 0:
            np.testing.assert_allclose(points[k], origins[k] + depth * directions[k], atol=1e-5)
            assert normals[k] @ directions[k] < 0
    assert 100 < (face >= 0).sum() < 200


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (3, 1, 2, 0)])
def test_of_a_double_sided_square_the_side_towards_the_viewer_is_hit(order):
    faces = np.concatenate([TWO, TWO[:, [0, 2, 1]]])[list(order)]
    up_facing = [k for k, o in enumerate(order) if o < 2]
    caster = RayCaster(np.concatenate([SQUARE, SQUARE]), faces + [[4], [0], [4], [0]])  # twins need not share vertices
    from_above = caster.cast(DOWN, pinhole(30, (8, 8)), (8, 8))
    below = look_at(np.array([0.0, 0, -2]), np.zeros(3), up=(0, 1, 0))
    from_below = caster.cast(below, pinhole(30, (8, 8)), (8, 8))
    assert from_above.mask.all() and np.isin(from_above.face, up_facing).all()
    assert from_below.mask.all() and not np.isin(from_below.face, up_facing).any()


def test_a_single_sided_square_is_seen_from_behind_and_copies_give_the_lowest_id():
    below = look_at(np.array([0.0, 0, -2]), np.zeros(3), up=(0, 1, 0))
    hits = RayCaster(SQUARE, np.concatenate([TWO, TWO])).cast(below, pinhole(30, (8, 8)), (8, 8))
    assert set(np.unique(hits.face)) == {0, 1}
    np.testing.assert_allclose(hits.normals[0, 0], [0, 0, -1])


def test_trimesh_s_own_search_gives_the_same_ids():
    import trimesh
    from trimesh.ray.ray_triangle import RayMeshIntersector

    vertices, faces = cube()
    caster = RayCaster(vertices, faces)
    T = look_at(np.array([3.0, -4, 2]), np.zeros(3))
    fast = caster.cast(T, pinhole(40, (16, 16)), (16, 16))
    caster._first = RayMeshIntersector(trimesh.Trimesh(vertices, faces, process=False)).intersects_first
    slow = caster.cast(T, pinhole(40, (16, 16)), (16, 16))
    assert (fast.face == slow.face).all() and (fast.points == slow.points).all()


def test_meshes_that_cannot_be_seen_are_refused():
    with pytest.raises(ValueError, match="no faces"):
        RayCaster(SQUARE, np.zeros((0, 3), np.int32))
    with pytest.raises(ValueError, match="name vertices 0..3, there are 3"):
        RayCaster(SQUARE[:3], TWO)


def test_observation_holds_the_hits_in_pixel_order():
    caster = RayCaster(SQUARE, TWO)
    cameras = Cameras(("v",), ("v.png",), DOWN[None], pinhole(90, (10, 12))[None], np.array([[10, 12]]))
    hits = caster.cast(DOWN, cameras.intrinsics[0], (10, 12))
    seen = observe(caster, cameras, 0, np.array([[255, 0, 0], [0, 255, 0]], np.uint8))
    assert seen.size == (10, 12) and (np.diff(seen.pixels) > 0).all()
    assert (seen.pixels == np.flatnonzero(hits.mask)).all()
    assert (seen.points == hits.points[hits.mask]).all()
    assert (seen.colors[:, 1] == 255 * (hits.face[hits.mask] == 1)).all()


def test_an_observation_with_a_photo_takes_the_photo_s_colours_and_resolution():
    caster = RayCaster(SQUARE, TWO)
    cameras = Cameras(("v",), ("v.png",), DOWN[None], pinhole(90, (20, 24))[None], np.array([[20, 24]]))
    photo = np.arange(480, dtype=np.uint16).astype(np.uint8).reshape(10, 12, 4)  # half the size, with alpha
    seen = observe(caster, cameras, 0, photo)
    expected = caster.cast(DOWN, pinhole(90, (10, 12)), (10, 12))
    assert seen.size == (10, 12) and (seen.points == expected.points[expected.mask]).all()
    assert (seen.colors == photo.reshape(-1, 4)[seen.pixels, :3]).all()


def test_picture_is_opaque_inside_clear_outside_and_half_at_a_rim():
    white = lambda hits: np.ones((*hits.face.shape, 3), np.float32)  # noqa: E731
    rgba = picture(RayCaster(SQUARE, TWO), white, DOWN, np.array([5.25, 5.25, 5, 5]), (10, 10))
    assert (rgba[4:6, 4:6, 3] == 255).all() and (rgba[0, :, 3] == 0).all()
    assert set(np.unique(rgba[..., 3])) > {0, 255}
    colors = rgba[rgba[..., 3] > 0, :3]
    assert (colors == colors[0]).all()  # a rim pixel is not darkened by the nothing beside it


@pytest.mark.parametrize("ending", ["ply", "obj", "glb"])
def test_meshes_come_back_from_files_with_faces_in_order(tmp_path, ending):
    import trimesh

    vertices, faces = cube()
    trimesh.Trimesh(vertices, faces, process=False).export(tmp_path / f"cube.{ending}")
    mesh = load_colored_mesh(tmp_path / f"cube.{ending}")
    assert all((a == b).all() for a, b in zip(load_mesh(tmp_path / f"cube.{ending}"), (mesh.vertices, mesh.faces), strict=True))
    np.testing.assert_allclose(mesh.vertices[mesh.faces], vertices[faces], atol=1e-6)
    assert len(mesh.colors) == len(faces)


def test_face_colours_survive_a_ply(tmp_path):
    import trimesh

    colors = np.array([[200, 10, 30], [5, 250, 90]], np.uint8)
    trimesh.Trimesh(SQUARE, TWO, face_colors=colors, process=False).export(tmp_path / "two.ply")
    assert (load_colored_mesh(tmp_path / "two.ply").colors == colors).all()


def test_materials_give_colours_and_the_nodes_of_a_scene_keep_their_place(tmp_path):
    import trimesh
    from trimesh.visual.material import PBRMaterial

    scene = trimesh.Scene()
    for x, color in ((0, [200, 30, 40, 255]), (5, [20, 30, 240, 255])):
        box = trimesh.creation.box()
        box.visual = trimesh.visual.TextureVisuals(material=PBRMaterial(baseColorFactor=color))
        scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([x, 0, 0]))
    scene.export(tmp_path / "two.glb")
    mesh = load_colored_mesh(tmp_path / "two.glb")
    left = mesh.vertices[mesh.faces].mean(1)[:, 0] < 2
    assert left.sum() == 12 == (~left).sum()
    assert (mesh.colors[left] == [200, 30, 40]).all() and (mesh.colors[~left] == [20, 30, 240]).all()


def test_a_texture_is_read_at_the_middle_of_each_face(tmp_path):
    import trimesh
    from PIL import Image

    checks = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8).repeat(8, 0).repeat(8, 1))
    apart = SQUARE[TWO].reshape(-1, 3)
    uv = np.array([[0.1, 0.5]] * 3 + [[0.9, 0.5]] * 3)  # one triangle in the red half, one in the green
    visual = trimesh.visual.TextureVisuals(uv=uv, image=checks)
    trimesh.Trimesh(apart, np.arange(6).reshape(2, 3), visual=visual, process=False).export(tmp_path / "checks.obj")
    assert load_colored_mesh(tmp_path / "checks.obj").colors.tolist() == [[255, 0, 0], [0, 255, 0]]


def test_files_that_are_no_mesh_say_so(tmp_path):
    with pytest.raises(ValueError, match="no mesh at"):
        load_mesh(tmp_path / "absent.ply")
    (tmp_path / "broken.ply").write_text("not a ply")
    with pytest.raises(ValueError, match="cannot be read as a mesh|no triangles"):
        load_mesh(tmp_path / "broken.ply")
    import trimesh

    trimesh.PointCloud(SQUARE).export(tmp_path / "cloud.ply")
    with pytest.raises(ValueError, match="no triangles|cannot be read as a mesh"):
        load_mesh(tmp_path / "cloud.ply")


def test_colours_at_the_corners_of_a_glb_are_read_with_those_of_its_material(tmp_path):
    import trimesh

    scene = trimesh.Scene(trimesh.Trimesh(np.eye(3), [[0, 1, 2]], vertex_colors=np.tile([[255, 55, 0, 255]], (3, 1)), process=False))
    (tmp_path / "a.glb").write_bytes(with_materials(scene.export(file_type="glb")))
    # 55/255 of the light, which pictures write as 1.055 · (55/255)^(1/2.4) - .055 = .502
    np.testing.assert_array_equal(load_colored_mesh(tmp_path / "a.glb").colors[0], [255, 128, 0])


def with_materials(glb: bytes) -> bytes:
    """The same file with a white material for every mesh, which takes trimesh to another way of reading colours."""
    import json
    import struct

    length = struct.unpack("<I", glb[12:16])[0]
    tree = json.loads(glb[20 : 20 + length])
    tree["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 1]}}]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    rest = glb[20 + length :]
    return glb[:8] + struct.pack("<I", 20 + len(text) + len(rest)) + struct.pack("<I", len(text)) + glb[16:20] + text + rest
