"""Parts a merge tree cannot make: the four legs, the two screws, a door whose frame was merged with the wall first.

A merge tree over a neighbour graph makes connected parts only, and of these only the unions it happened to merge.
Masks know more: where a mask is explained by no part but by several together, their union is a candidate *group*.
Groups are chosen like parts (facility location, see `parts`), by what they explain beyond all others. A group may
cross parts chosen before; then it must explain more than they would take with them. Last, parts that became
redundant are dropped. The result is a laminar family again: any two of its sets are nested or apart.

Notation
  a atoms: the points whose smallest part is the same, so there are as many as parts. Atoms are never split here.
  s sets of atoms, as rows of booleans [s, a]; c candidates for a group; p parts. An atom without points is in no set:
  else two sets of the same points could differ.
  m masks of all v views in one row. Overlaps are counted in pixels.
  A mask covered by a set with IoU x counts (x - min_iou) / (1 - min_iou), and by a family what its best set counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from semquery.evidence import seen_pixels
from semquery.types import MaskStack, PartTree, Surface

MIN_IOU = 0.5
WELL = 0.8  # a mask that counts this much needs no group
MOST_CANDIDATES = 256  # the most often proposed ones; far more than any scene has groups


@dataclass(frozen=True)
class GroupConfig:
    """Which unions of parts become parts."""

    most: int = 20
    """Most groups; 0 = none."""
    relative_share: float = 0.3
    """A group must explain masks, that nothing else explains, in this part of the share of views that is usual for
    the scene's clearest parts. More than for a single part: of many unions some are masked by mistake."""


@dataclass(frozen=True)
class Pixels:
    """What the masks of all views share with the atoms."""

    both: Float32[np.ndarray, "m a"]
    size: Float32[np.ndarray, " m"]  # of each mask
    seen: Float32[np.ndarray, "v a"]  # of each atom in each view
    view: Int64[np.ndarray, " m"]


def count_pixels(tree: PartTree, surface: Surface, masks: Mapping[str, MaskStack]) -> Pixels:
    """Pixels of every view; views and masks in the order of `masks`."""
    both, seen, view = [], [], []
    for v, (name, stack) in enumerate(masks.items()):
        layers, points = seen_pixels(surface.point_of_pixel[name], stack)
        atom, count = tree.part_of_point[points].astype(np.int64), np.zeros((stack.num_masks + 1, tree.num_parts), np.int64)
        for layer in layers:
            count += np.bincount(layer * np.int64(tree.num_parts) + atom, minlength=count.size).reshape(count.shape)
        both.append(count[1:].astype(np.float32))
        seen.append(np.bincount(atom, minlength=tree.num_parts).astype(np.float32))
        view.append(np.full(stack.num_masks, v))
    counts = np.concatenate(both)
    return Pixels(counts, counts.sum(1), np.stack(seen), np.concatenate(view))


def iou_with_masks(pixels: Pixels, sets: Bool[np.ndarray, "s a"]) -> Float32[np.ndarray, "s m"]:
    """Intersection over union of every set with every mask, in the mask's view."""
    rows = sets.astype(np.float32)
    both = rows @ pixels.both.T
    return both / np.maximum((rows @ pixels.seen.T)[:, pixels.view] + pixels.size - both, 1)


def counts_for(pixels: Pixels, sets: Bool[np.ndarray, "s a"]) -> Float32[np.ndarray, "s m"]:
    """How much each mask counts as covered by each set, 0..1."""
    return np.maximum(iou_with_masks(pixels, sets) - MIN_IOU, 0) / (1 - MIN_IOU)


def num_views(pixels: Pixels, sets: Bool[np.ndarray, "s a"], shown: int) -> Int64[np.ndarray, " s"]:
    """Views that show at least so many atoms of each set."""
    return (sets.astype(np.float32) @ (pixels.seen > 0).T >= shown).sum(1)


def sets_of(tree: PartTree) -> Bool[np.ndarray, "p a"]:
    """The atoms in each part."""
    return tree.holds & (np.bincount(tree.part_of_point, minlength=tree.num_parts) > 0)


def candidates(tree: PartTree, pixels: Pixels) -> Bool[np.ndarray, "c a"]:
    """Unions of parts that masks propose, and unions of two of these that overlap; the most often proposed first.

    A mask that no part explains well proposes the largest parts that lie mostly in it, and, in case one of those is a
    wrong union itself, the leaves that do. Only what the view shows can be proposed: hence the unions.
    """
    parts, is_leaf = sets_of(tree), tree.holds.sum(1) == 1
    seen, both = (parts @ pixels.seen.T)[:, pixels.view], parts @ pixels.both.T
    inside = (seen > 0) & (both > 0.5 * seen)
    inside[:, counts_for(pixels, parts).max(0) >= WELL] = False
    inside[tree.root] = False
    proposed = [_unions(inside & ~inside[tree.parents], parts), _unions(inside & is_leaf[:, None], parts)]
    found = _most_frequent(np.concatenate(proposed))[: MOST_CANDIDATES // 2]
    top = found[: MOST_CANDIDATES // 8]
    first, second = np.nonzero(np.triu(top.astype(np.float32) @ top.T.astype(np.float32), 1))
    return _without(np.concatenate([found, top[first] | top[second]]), parts)[:MOST_CANDIDATES]


def _unions(members: Bool[np.ndarray, "p m"], parts: Bool[np.ndarray, "p a"]) -> Bool[np.ndarray, "s a"]:
    """The union of each mask's members, where it has several."""
    several = members[:, np.count_nonzero(members, axis=0) >= 2]
    return several.T.astype(np.float32) @ parts.astype(np.float32) > 0


def _most_frequent(sets: Bool[np.ndarray, "s a"]) -> Bool[np.ndarray, "t a"]:
    """The different sets, the most frequent first."""
    _, first, votes = np.unique(np.packbits(sets, axis=1), axis=0, return_index=True, return_counts=True)
    return sets[first[np.argsort(-votes, kind="stable")]]


def _without(sets: Bool[np.ndarray, "s a"], known: Bool[np.ndarray, "p a"]) -> Bool[np.ndarray, "c a"]:
    """The different sets that are not among the known ones, in their order."""
    _, first = np.unique(np.concatenate([known, sets]), axis=0, return_index=True)
    return sets[np.sort(first[first >= len(known)]) - len(known)]


def cross(a: Bool[np.ndarray, "s a"], b: Bool[np.ndarray, " a"]) -> Bool[np.ndarray, " s"]:
    """Whether each set shares atoms with b while neither holds the other."""
    both = (a & b).sum(1)
    return (both > 0) & (both < a.sum(1)) & (both < b.sum())


def add_groups(
    family: Bool[np.ndarray, "s a"], extra: Bool[np.ndarray, "c a"], least: Float32[np.ndarray, " c"], pixels: Pixels, most: int
) -> Bool[np.ndarray, "t a"]:
    """The family with the best group, as long as one explains `least` more masks than it costs; what it crosses leaves."""
    scores, offered = counts_for(pixels, family), counts_for(pixels, extra)
    for _ in range(most):
        winner = _best_group(family, extra, scores, offered, least)
        if winner is None:
            break
        stays = ~cross(family, extra[winner])
        family = np.concatenate([extra[winner : winner + 1], family[stays]])
        scores = np.concatenate([offered[winner : winner + 1], scores[stays]])
    return family


def _best_group(family, extra, scores, offered, least) -> int | None:
    """The candidate that explains most masks net of what the sets it crosses take with them, if that is its `least`."""
    best, winner, most = scores.max(0), None, 0.0
    gains = np.array([np.maximum(row - best, 0).sum() for row in offered])
    for c in sorted(np.flatnonzero(gains >= least), key=lambda c: -gains[c]):
        if gains[c] <= most:
            break  # the net is never more than the gain
        crossed, rest = cross(family, extra[c]), best.copy()
        lost = scores[crossed].any(0)
        rest[lost] = scores[np.ix_(~crossed, lost)].max(0)
        net = (np.maximum(rest, offered[c]) - best).sum()
        if net > most and net >= least[c]:
            winner, most = int(c), net
    return winner


def drop_redundant(family: Bool[np.ndarray, "s a"], least: Float32[np.ndarray, " s"], pixels: Pixels) -> Bool[np.ndarray, "t a"]:
    """The family without the sets whose loss costs less than their `least`, one at a time; the whole always stays."""
    scores, stays, whole = counts_for(pixels, family), np.ones(len(family), bool), family.sum(1).argmax()
    best, lead = _leaders(scores)
    while True:
        loss = np.bincount(best, lead, len(family)) - least
        loss[~stays] = loss[whole] = np.inf
        worst = loss.argmin()
        if loss[worst] >= 0:
            return family[stays]
        stays[worst] = False
        touched = scores[worst] > 0
        scores[worst] = 0  # which is as good as gone
        best[touched], lead[touched] = _leaders(scores[:, touched])


def _leaders(scores: Float32[np.ndarray, "s m"]) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
    """The set for which each mask counts most, and by how much more than for the next."""
    best, masks = scores.argmax(0), np.arange(scores.shape[1])
    others = scores.copy()
    others[best, masks] = 0
    return best, scores[best, masks] - others.max(0)


def tree_of(tree: PartTree, family: Bool[np.ndarray, "s a"]) -> PartTree:
    """The family as a part tree, without supports: every set's parent is the smallest set around it."""
    points = np.bincount(tree.part_of_point, minlength=tree.num_parts)
    family = family[np.argsort(family @ points, kind="stable")]  # small sets first, so the first that holds is the parent
    inside = (family.astype(np.float32) @ (~family).T.astype(np.float32)) == 0  # [i, j]: i lies in j
    up = np.triu(inside, 1)
    up[-1, -1] = True
    parent = up.argmax(1)
    order = np.argsort(np.isin(np.arange(len(family)), parent), kind="stable")
    number = np.argsort(order)
    parts = sets_of(tree)
    height = np.array([tree.altitude[(parts <= row).all(1)].max(initial=0) for row in family])  # of the parts in each set
    return PartTree(
        parents=number[parent[order]].astype(np.int32), altitude=height[order].astype(np.float32),
        part_of_point=number[family.argmax(0)][tree.part_of_point].astype(np.int32),
        support=np.zeros((0, 3), np.int32), support_iou=np.zeros(0, np.float32),
    )


def supported(tree: PartTree, sets: Bool[np.ndarray, "p a"], pixels: Pixels) -> PartTree:
    """The tree, whose parts are these sets, with every (part, view, mask) of IoU above a half, sorted."""
    iou = iou_with_masks(pixels, sets)
    part, mask = np.nonzero(iou > MIN_IOU)
    first = np.searchsorted(pixels.view, np.arange(len(pixels.seen)))
    support = np.stack([part, pixels.view[mask], mask - first[pixels.view[mask]]], 1).astype(np.int32)
    return PartTree(tree.parents, tree.altitude, tree.part_of_point, support, iou[part, mask])


def with_groups(
    tree: PartTree, surface: Surface, masks: Mapping[str, MaskStack], config: GroupConfig,
    gamma: float, min_share: float, usual_share: float,
) -> PartTree:
    """The part tree with its groups and without what they made redundant, and the masks that support each part.

    `gamma` and `min_share` are those the parts were chosen with, `usual_share` the share of views in which the clearest
    parts are explained.
    """
    pixels = count_pixels(tree, surface, masks)
    extra = candidates(tree, pixels)
    # a group is only a group where two of its leaves are seen
    usual = config.relative_share * usual_share * num_views(pixels, extra & (tree.holds.sum(1) == 1), 2)
    family = add_groups(sets_of(tree), extra, np.maximum(gamma, usual).astype(np.float32), pixels, config.most)
    least = np.maximum(gamma, min_share * num_views(pixels, family, 1)).astype(np.float32)
    grown = tree_of(tree, drop_redundant(family, least, pixels))
    part_of_atom = np.zeros(tree.num_parts, np.int64)
    part_of_atom[tree.part_of_point] = grown.part_of_point
    return supported(grown, grown.holds[:, part_of_atom], pixels)
