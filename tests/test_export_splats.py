"""Splats that leave a run, read back by plyfile: every bit that is not ours stays."""

import io
from dataclasses import replace

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_labels, small_parts, small_surface
from hypothesis import given
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from semquery.export import splats as module
from semquery.export.chosen import Chosen
from semquery.export.splats import (
    SH_C0,
    highlighted_splats,
    labelled_splats,
    part_of_splats,
    read_splats,
    splats_of_parts,
    usual_reach,
)
from semquery.types import Surface

REST = {0: 0, 1: 9, 2: 24, 3: 45}


def names_of(degree: int) -> list[str]:
    return ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{k}" for k in range(3)), *(f"f_rest_{k}" for k in range(REST[degree])),
            "opacity", *(f"scale_{k}" for k in range(3)), *(f"rot_{k}" for k in range(4))]


def splats_at(centres, degree: int = 0, order: str = "<", text: bool = False, extra=(), seed: int = 0) -> PlyData:
    """Splats at these places, all other fields random."""
    centres, random = np.asarray(centres, np.float32).reshape(-1, 3), np.random.default_rng(seed)
    kinds = [*((name, "f4") for name in names_of(degree)), *extra]
    rows = np.empty(len(centres), [(name, np.dtype(kind).newbyteorder(order)) for name, kind in kinds])
    for name in rows.dtype.names:
        rows[name] = random.normal(0, 50, len(rows)).astype(rows.dtype[name])
    rows["x"], rows["y"], rows["z"] = centres.T
    element = PlyElement.describe(rows, "vertex", comments=["of the vertices"])
    return PlyData([element], text=text, byte_order="=" if text else order, comments=["of a trainer"], obj_info=["17"])


def written(ply) -> bytes:
    file = io.BytesIO()
    ply.write(file)
    return file.getvalue()


def read_back(ply) -> PlyData:
    return PlyData.read(io.BytesIO(written(ply)))


def rows_of(ply) -> np.ndarray:
    return ply["vertex"].data


def bits(column: np.ndarray) -> bytes:
    return np.ascontiguousarray(column).tobytes()


def chosen_small(*tops: int) -> Chosen:
    return Chosen(small_surface(), small_parts(), small_labels(), tops or (4,))


def labels_by_hand(centres, chosen: Chosen, reach: float) -> tuple[list[set[int]], list[float]]:
    """For each place the parts it may have (several where points are equally near), and its distance, one after another."""
    allowed, distance = [], []
    for centre in np.asarray(centres, np.float64):
        away = np.sqrt(((chosen.surface.points.astype(np.float64) - centre) ** 2).sum(1))
        least = away.min()
        nearest = np.flatnonzero(away <= least + 1e-9)
        own = {int(chosen.parts.part_of_point[i]) for i in nearest}
        kept = {part if any(chosen.parts.holds[top, part] for top in chosen.tops) else -1 for part in own}
        allowed.append({-1} if least > reach else kept)
        distance.append(least)
    return allowed, distance


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_large_gaussian_reaches_as_far_as_it_is_large_and_a_small_one_three_voxels(scale):
    ply = splats_at(np.zeros((4, 3)))
    for k, sides in enumerate(([0.001, 0.4, 30.0, np.nan], [0.001, 0.1, 0.1, 1], [0.002, 0.1, 0.1, 1])):
        ply["vertex"].data[f"scale_{k}"] = np.log(sides)
    T = None if scale == 1 else np.diag([scale, scale, scale, 1.0])
    far = usual_reach(ply, 0.1, T)
    np.testing.assert_allclose(far[:3], [0.3, 2 * 0.4 * scale if scale == 1 else 1.2, 1.2], rtol=1e-6)  # 3 voxels, 2 σ, 12 voxels
    assert 0.3 <= far[3] <= 1.2 + 1e-9


def test_what_is_left_out_has_no_part_and_keeps_its_distance():
    chosen = chosen_small()
    ply = splats_at(chosen.surface.points[:3])
    every, some = (labelled_splats(ply, chosen, 0.1, left_out=out) for out in (None, np.array([False, True, False])))
    assert (rows_of(every)["part"] >= 0).all() and rows_of(some)["part"].tolist()[1] == -1
    assert bits(rows_of(every)["part_distance"]) == bits(rows_of(some)["part_distance"])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_labels_come_last_and_every_other_bit_and_the_order_stay(tmp_path, degree, order):
    centres = np.random.default_rng(degree).uniform(-1, 10, (40, 3))
    more = [("semantic", "i4"), ("weight", "f8"), ("flag", "u1")]
    (tmp_path / "in.ply").write_bytes(written(splats_at(centres, degree, order, extra=more)))
    before = read_splats(tmp_path / "in.ply")
    labelled_splats(before, chosen_small(), 1.0).write(str(tmp_path / "out.ply"))
    after = PlyData.read(str(tmp_path / "out.ply"))
    names = rows_of(before).dtype.names
    assert rows_of(after).dtype.names == (*names, "part", "part_distance")
    for name in names:
        assert rows_of(after).dtype[name] == rows_of(before).dtype[name] and bits(rows_of(after)[name]) == bits(rows_of(before)[name])
    assert (after.byte_order, after.text, after.comments, after.obj_info) == (order, False, ["of a trainer"], ["17"])
    assert after["vertex"].comments == ["of the vertices"]
    assert rows_of(after).dtype["part"] == f"{order}i4" and rows_of(after).dtype["part_distance"] == f"{order}f4"
    part, distance = part_of_splats(before, chosen_small(), 1.0)
    assert bits(rows_of(after)["part"].astype(np.int32)) == bits(part) and (rows_of(after)["part_distance"] == distance).all()


def test_without_the_labels_the_file_is_the_one_that_was_read_byte_for_byte():
    ply = splats_at(np.random.default_rng(0).uniform(-1, 10, (9, 3)), 3)
    after = rows_of(read_back(labelled_splats(ply, chosen_small(), 1.0)))
    kept = [name for name in after.dtype.names if not name.startswith("part")]
    rows = np.empty(len(after), [(name, after.dtype[name]) for name in kept])
    for name in kept:
        rows[name] = after[name]
    element = PlyElement.describe(rows, "vertex", comments=["of the vertices"])
    assert written(PlyData([element], False, "<", ply.comments, ply.obj_info)) == written(ply)


def test_a_text_stays_text_with_the_same_numbers(tmp_path):
    (tmp_path / "in.ply").write_bytes(written(splats_at([[0, 0, 0], [7, 0, 0]], text=True)))
    before = read_splats(tmp_path / "in.ply")
    after = read_back(labelled_splats(before, chosen_small(), 1.0))
    assert after.text and rows_of(after)["part"].tolist() == [0, 2]
    assert all(bits(rows_of(after)[name]) == bits(rows_of(before)[name]) for name in rows_of(before).dtype.names)


def test_a_splat_has_the_smallest_part_of_the_nearest_point_within_reach():
    places = [[0, 0, 0], [2, 0.4, 2], [1, 0.4, 1], [7, 0.5, 0], [7, 0.6, 0], [50, 0, 0]]
    part, distance = part_of_splats(splats_at(places), chosen_small(), 0.5)
    assert part.tolist() == [0, 1, 3, 2, -1, -1]
    np.testing.assert_allclose(distance, [0, 0.4, 0.4, 0.5, 0.6, 41], rtol=1e-6)
    assert part_of_splats(splats_at(places), chosen_small(), np.inf)[0].tolist() == [0, 1, 3, 2, 2, 2]


def test_a_splat_nearest_to_a_part_that_is_not_chosen_has_none_even_where_a_chosen_one_is_within_reach():
    part, distance = part_of_splats(splats_at([[1.2, 0, 1], [1.8, 0, 1], [0, 0, 2]]), chosen_small(1), 5.0)
    assert part.tolist() == [-1, 1, -1] and distance[0] == pytest.approx(0.2)


def test_splats_whose_centre_is_no_number_are_kept_without_a_part():
    places = [[np.nan, 0, 0], [0, np.inf, 0], [0, 0, 0], [100, 0, 0]]
    after = rows_of(labelled_splats(splats_at(places), chosen_small(), np.inf))
    assert after["part"].tolist() == [-1, -1, 0, 2] and np.isinf(after["part_distance"]).tolist() == [True, True, False, False]
    assert bits(after["x"]) == bits(np.array([np.nan, 0, 0, 100], np.float32))
    holed = small_surface()
    holed.points[0] = np.nan
    assert part_of_splats(splats_at([*places, [2, 0, 0]]), Chosen(holed, small_parts(), {}, (4,)), 1.5)[0].tolist() == [-1, -1, 0, -1, 1]


def test_no_splats_are_an_empty_file_again(tmp_path):
    (tmp_path / "none.ply").write_bytes(written(splats_at([], 3)))
    none = read_splats(tmp_path / "none.ply")
    after = read_back(labelled_splats(none, chosen_small(), 1.0))
    assert len(rows_of(after)) == 0 and rows_of(after).dtype.names[-2:] == ("part", "part_distance")
    assert written(highlighted_splats(none, rows_of(after)["part"])) == written(none)
    assert list(splats_of_parts(none, rows_of(after)["part"], chosen_small())) == []


def test_without_any_surface_point_no_splat_has_a_part():
    whole = small_surface()
    bare = Surface(*(getattr(whole, name)[:0] for name in ("points", "normals", "colors", "features", "source")), voxel_size=0.5)
    part, distance = part_of_splats(splats_at([[0, 0, 0]]), Chosen(bare, part_tree([0], []), {}, (0,)), 1.0)
    assert part.tolist() == [-1] and distance[0] > 1e30


def test_a_hundred_thousand_splats_have_the_labels_found_one_by_one(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 30_000)
    random = np.random.default_rng(1)
    surface = replace(small_surface(), points=random.uniform(0, 10, (12, 3)).astype(np.float32))
    chosen, places = Chosen(surface, small_parts(), {}, (3,)), random.uniform(-1, 11, (100_000, 3)).astype(np.float32)
    part, distance = part_of_splats(splats_at(places), chosen, 3.0)
    sample = random.choice(len(places), 500, replace=False)
    allowed, away = labels_by_hand(places[sample], chosen, 3.0)
    assert all(found in right for found, right in zip(part[sample].tolist(), allowed, strict=True))
    np.testing.assert_allclose(distance[sample], away, rtol=1e-6)
    assert {-1, 0, 1, 3} == {*part.tolist()}


@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0.1, 4))
def test_labels_and_files_of_any_tree_are_those_made_by_hand(seed, num_parts, reach):
    random = np.random.default_rng(seed)
    parts, places = random_parts(random, num_parts, 12), random.integers(-1, 11, (15, 3)) + random.uniform(0, 1, (15, 3))
    chosen = Chosen(small_surface(), parts, {}, (int(random.integers(num_parts)),))
    ply = splats_at(places, 1, seed=seed)
    part, _ = part_of_splats(ply, chosen, reach)
    allowed, _ = labels_by_hand(places.astype(np.float32), chosen, reach)
    assert all(found in right for found, right in zip(part.tolist(), allowed, strict=True))
    files = {of: rows_of(read_back(each)) for of, each in splats_of_parts(ply, part, chosen)}
    for node in range(num_parts):
        chosen_too = parts.holds[chosen.tops[0], node]
        held = [k for k, own in enumerate(part.tolist()) if chosen_too and own >= 0 and parts.holds[node, own]]
        assert (node in files) == bool(held)
        if held:
            assert bits(files[node]) == bits(rows_of(ply)[held])


def test_the_file_of_a_part_holds_what_is_inside_it_and_can_be_read_as_splats(tmp_path):
    ply = splats_at([[9, 0, 0], [0, 0, 0], [50, 0, 0], [2, 0, 0], [1, 0, 1], [0, 0, 1]], 2, ">")
    part, _ = part_of_splats(ply, chosen_small(), 0.5)
    files = dict(splats_of_parts(ply, part, chosen_small()))
    assert list(files) == [4, 2, 3, 0, 1]  # parts before what is inside them
    rows = {4: [0, 1, 3, 4, 5], 2: [0], 3: [1, 3, 4, 5], 0: [1, 5], 1: [3]}
    for node, each in files.items():
        each.write(str(tmp_path / f"{node}.ply"))
        back = read_splats(tmp_path / f"{node}.ply")
        assert bits(rows_of(back)) == bits(rows_of(ply)[rows[node]]) and rows_of(back).dtype == rows_of(ply).dtype
        assert back.byte_order == ">" and back.comments == ["of a trainer"]
    assert [node for node, _ in splats_of_parts(ply, part, chosen_small(), [1, 3])] == [1, 3]


@pytest.mark.parametrize("degree", [0, 3])
def test_highlighted_splats_have_the_colour_from_all_sides_and_the_others_every_bit(degree):
    ply = splats_at([[0, 0, 0], [7, 0, 0], [50, 0, 0], [2, 0, 0]], degree)
    part, _ = part_of_splats(ply, chosen_small(3), 0.5)
    before, after = rows_of(ply).copy(), rows_of(read_back(highlighted_splats(ply, part, (255, 0, 51))))
    assert part.tolist() == [0, -1, -1, 1] and after.dtype == before.dtype
    shown = np.stack([0.5 + SH_C0 * after[f"f_dc_{k}"] for k in range(3)], 1)[[0, 3]]
    np.testing.assert_allclose(shown, [[1, 0, 0.2]] * 2, atol=1e-6)
    assert SH_C0 == pytest.approx(1 / (2 * np.sqrt(np.pi)), rel=1e-14)
    assert all((after[f"f_rest_{k}"][[0, 3]] == 0).all() for k in range(REST[degree]))
    assert bits(after[[1, 2]]) == bits(before[[1, 2]])
    assert all(bits(after[name]) == bits(before[name]) for name in before.dtype.names if not name.startswith("f_"))
    assert bits(rows_of(ply)) == bits(before)  # what was given is not changed


def test_a_trainers_own_frame_is_brought_into_the_world_and_distances_are_the_worlds():
    T = np.array([[0, -2, 0, 3], [2, 0, 0, -1], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    world = np.array([[0, 0, 0], [2, 0, 2.25], [7, 0, 0]])
    own = (np.linalg.inv(T) @ np.c_[world, np.ones(3)].T).T[:, :3]
    part, distance = part_of_splats(splats_at(own), chosen_small(), 0.5, T)
    assert part.tolist() == [0, 1, 2]
    np.testing.assert_allclose(distance, [0, 0.25, 0], atol=1e-6)
    after = rows_of(labelled_splats(splats_at(own), chosen_small(), 0.5, T))
    assert after["part"].tolist() == [0, 1, 2] and (after["x"] == own[:, 0].astype(np.float32)).all()


def test_a_second_export_replaces_the_labels_of_the_first():
    ply = splats_at([[0, 0, 0], [7, 0, 0]], 1, ">")
    first = read_back(labelled_splats(ply, chosen_small(0), 0.5))
    assert written(labelled_splats(first, chosen_small(), 0.5)) == written(labelled_splats(ply, chosen_small(), 0.5))
    with pytest.raises(ValueError, match="have a field part already, which is not of semquery's making"):
        labelled_splats(splats_at([[0, 0, 0]], extra=[("part", "f4")]), chosen_small(), 0.5)


def test_further_elements_stay_with_all_splats_and_not_with_those_of_a_part():
    ply = splats_at([[0, 0, 0]])
    camera = PlyElement.describe(np.array([(1.5,)], [("focal", "<f4")]), "camera")
    more = PlyData([camera, ply["vertex"]], byte_order="<")
    part, _ = part_of_splats(more, chosen_small(), 1.0)
    assert [e.name for e in read_back(labelled_splats(more, chosen_small(), 1.0))] == ["camera", "vertex"]
    assert read_back(highlighted_splats(more, part))["camera"]["focal"].tolist() == [1.5]
    assert all([e.name for e in each] == ["vertex"] for _, each in splats_of_parts(more, part, chosen_small()))


def without(ply, *names):
    rows = rows_of(ply)
    kept = [(name, kind) for name, kind in rows.dtype.descr if name not in names]
    fewer = np.empty(len(rows), kept)
    for name, _ in kept:
        fewer[name] = rows[name]
    return PlyData([PlyElement.describe(fewer, "vertex")], byte_order="<")


def as_points():
    return PlyData([PlyElement.describe(np.zeros(2, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1")]), "vertex")])


def as_compressed():
    packed = np.zeros(2, [(f"packed_{name}", "u4") for name in ("position", "rotation", "scale", "color")])
    return PlyData([PlyElement.describe(np.zeros(1, [("min_x", "f4")]), "chunk"), PlyElement.describe(packed, "vertex")])


def with_whole_numbers():
    ply = without(splats_at([[0, 0, 0]]), "opacity")
    rows = np.empty(1, [*rows_of(ply).dtype.descr, ("opacity", "<i4")])
    return PlyData([PlyElement.describe(rows, "vertex")], byte_order="<")


def with_a_list():
    rows = np.empty(1, [*rows_of(splats_at([[0, 0, 0]])).dtype.descr, ("near", "O")])
    for name in rows.dtype.names:
        rows[name] = 0
    rows["near"][0] = np.array([1, 2])
    return PlyData([PlyElement.describe(rows, "vertex")], byte_order="<")


@pytest.mark.parametrize("make, told", [
    (as_points, "is no splat PLY, it has no field f_dc_0, f_dc_1, f_dc_2, opacity, scale_0"),
    (as_compressed, "compressed splat PLY; export the splats as an uncompressed PLY"),
    (lambda: PlyData([PlyElement.describe(np.zeros(1, [("a", "f4")]), "camera")]), "has no element 'vertex'"),
    (lambda: without(splats_at([[0, 0, 0]], 1), "f_rest_8"), "has 8 fields f_rest; expected f_rest_0 to f_rest_8"),
    (lambda: without(splats_at([[0, 0, 0]]), "rot_3"), "has no field rot_3; expected"),
    (with_whole_numbers, "opacity of this PLY is int32; expected a floating-point number"),
    (with_a_list, "near of this PLY is a list for each splat"),
])
def test_what_is_no_splat_file_is_told_in_a_sentence(tmp_path, make, told):
    (tmp_path / "it.ply").write_bytes(written(make()))
    with pytest.raises(ValueError, match=told) as error:
        read_splats(tmp_path / "it.ply")
    assert str(error.value).startswith(f"{tmp_path / 'it.ply'}: ") and "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_told_in_a_sentence(tmp_path):
    whole = written(splats_at([[0, 0, 0]] * 9, 3))
    broken = {"cut.ply": whole[:-5], "head.ply": whole[:60], "other.splat": b"\x00\xff" * 64, "empty.ply": b"", "text.ply": b"hello"}
    for name, held in broken.items():
        (tmp_path / name).write_bytes(held)
        told = "cannot be read as PLY .*is it whole" if held[:3] == b"ply" else "is empty" if not held else "is no PLY .*begins with.*SuperSplat turns .splat"
        with pytest.raises(ValueError, match=f"{name} {told}"):
            read_splats(tmp_path / name)
    with pytest.raises(ValueError, match="There is no file .*gone.ply"):
        read_splats(tmp_path / "gone.ply")
    with pytest.raises(ValueError, match="is a folder; expected a splat PLY: one of empty.ply, head.ply, text.ply"):
        read_splats(tmp_path)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="bare is a folder; expected a splat PLY, and there is none in it"):
        read_splats(tmp_path / "bare")


def test_flat_splats_and_those_without_normals_are_splats_too(tmp_path):
    (tmp_path / "flat.ply").write_bytes(written(without(splats_at([[0, 0, 0]]), "scale_2", "nx", "ny", "nz")))
    assert part_of_splats(read_splats(tmp_path / "flat.ply"), chosen_small(), 1.0)[0].tolist() == [0]


def test_bad_arguments_are_told_in_a_sentence():
    ply = splats_at([[0, 0, 0]])
    for reach in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=f"a reach of {reach} .* expected a positive length"):
            labelled_splats(ply, chosen_small(), reach)
    with pytest.raises(ValueError, match="parts of 2 splats and 1 splats"):
        highlighted_splats(ply, np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="has part 5 and the tree has 5 parts"):
        list(splats_of_parts(ply, np.array([5], np.int32), chosen_small()))
