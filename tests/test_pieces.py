"""Pieces of one part: found where features are alike and places near, and what that does to the part tree."""

from dataclasses import replace

import numpy as np
import pytest

from semquery.groups import GroupConfig
from semquery.parts import TreeConfig, build_part_tree
from semquery.pieces import reunions
from semquery.types import MaskStack, Surface

RED, BLUE = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def sheet(height: float, side: int = 6) -> np.ndarray:
    x, y = np.meshgrid(np.arange(side, dtype=float), np.arange(side, dtype=float))
    return np.stack([x.ravel(), y.ravel(), np.full(side * side, height)], 1)


def slow_reunions(points, features, segment, reach, alike=0.4, least=12):
    """Every point of a smaller segment asks every point of a larger one."""
    groups = [np.flatnonzero(segment == s) for s in np.unique(segment)]
    groups = sorted((g for g in groups if len(g) >= least), key=len, reverse=True)
    found = set()
    for a, large in enumerate(groups):
        for small in groups[a + 1 :]:
            if np.linalg.norm(features[large].mean(0) - features[small].mean(0)) < alike:
                for i in small:
                    distance = np.linalg.norm(points[large] - points[i], axis=1)
                    if distance.min() < reach:
                        found.add(tuple(sorted((int(i), int(large[distance.argmin()])))))
    return sorted(found)


@pytest.mark.parametrize("seed", range(8))
def test_edges_are_those_a_search_over_all_pairs_finds(seed):
    random = np.random.default_rng(seed)
    points, segment = random.random((150, 3)) * 4, random.integers(0, 6, 150)
    codes = random.normal(size=(3, 4))
    features = codes[segment % 3] / np.linalg.norm(codes[segment % 3], axis=1, keepdims=True)
    found = reunions(points, features, segment, reach=0.8)
    assert [tuple(e) for e in found.tolist()] == slow_reunions(points, features, segment, 0.8)


def test_two_faces_of_a_board_are_joined_across_it_and_only_when_alike():
    points, segment = np.concatenate([sheet(0), sheet(5)]), np.repeat([0, 1], 36)
    alike, unlike = np.tile(RED, (72, 1)), np.repeat([RED, BLUE], 36, axis=0)
    assert reunions(points, alike, segment, reach=6.0).tolist() == [[k, k + 36] for k in range(36)]
    assert len(reunions(points, alike, segment, reach=4.0)) == 0, "too far apart"
    assert len(reunions(points, unlike, segment, reach=6.0)) == 0


def test_small_segments_and_single_ones_are_left_alone():
    points = np.concatenate([sheet(0), sheet(5)[:11]])
    assert len(reunions(points, np.tile(RED, (47, 1)), np.repeat([0, 1], [36, 11]), reach=9.0)) == 0
    assert len(reunions(sheet(0), np.tile(RED, (36, 1)), np.zeros(36, int), reach=9.0)) == 0


def test_a_board_whose_rim_was_never_seen_becomes_one_part():
    """Two red faces, joined by a blue block only: masks show the board as one, the graph has it in two pieces."""
    block = sheet(0) + [6, 0, 0], sheet(4) + [6, 0, 0]
    points = np.concatenate([sheet(0), sheet(5), *block]).astype(np.float32)
    features = np.repeat([RED, BLUE], 72, axis=0)
    shown = {f"v{k}": np.arange(144, dtype=np.int32).reshape(12, 12) for k in range(4)}
    layer = np.where(np.arange(144) < 72, 1, 2).astype(np.uint16).reshape(1, 12, 12)
    masks = {name: MaskStack(layer, np.ones(2, np.float32)) for name in shown}
    up = np.tile(np.array([0, 0, 1], np.float32), (144, 1))
    surface = Surface(points, up, np.zeros((144, 3), np.uint8), features.astype(np.float16), np.arange(144, dtype=np.int32), 1.0, shown)
    config = TreeConfig(neighbours=4, radius=1.5, groups=GroupConfig(most=0))
    sets = lambda parts: {tuple(np.flatnonzero(parts.holds[p, parts.part_of_point])) for p in range(parts.num_parts)}  # noqa: E731
    board = tuple(range(72))
    assert board in sets(build_part_tree(surface, masks, config)[0])
    assert board not in sets(build_part_tree(surface, masks, replace(config, rejoin=0.0))[0])
