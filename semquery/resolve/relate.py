"""Holding parts against what they are related to.

Anchors come as groups, one for each phrase that names them: what is between the drawers and the doors is between a drawer
and a door, not between two drawers. Of the parts on one side of a part, those straight beside it come before those at an
angle: the button left of the start button is the one in its row, though another may be as near.
"""

from collections.abc import Sequence

from semquery.phrases import Phrase, Relation
from semquery.relations import DIRECTIONS, HOLDS, distance, holds_relation, nested, straight
from semquery.resolve.choose import SAME_WAY, closest
from semquery.resolve.pool import CALLED, best_called
from semquery.resolve.trail import Scored, Trail, Unanswerable
from semquery.resolve.wording import WORDS, named, parts_in_words, relation_in_words

REACH = 0.25  # of an anchor's diagonal: so close to it is what belongs to it though the tree has it elsewhere

Anchors = list[list[int]]  # of each phrase of a relation


def flat(anchors: Anchors) -> list[int]:
    """The anchors of all phrases, each once."""
    return list(dict.fromkeys(part for group in anchors for part in group))


def degree(relation: Relation, part: int, anchors: Anchors, trail: Trail) -> float:
    """How far a relation holds: to all of several anchors, to any where one was said and it is open which."""
    parts = flat(anchors)
    if relation.kind == "between" and len(anchors) == 2:
        if any(nested(part, anchor, trail.places) for anchor in parts):
            return 0.0
        return max(holds_relation("between", part, [b, c], trail.places) for b in anchors[0] for c in anchors[1])
    if relation.kind in DIRECTIONS and relation.of[0].number == 1:
        return max(holds_relation(relation.kind, part, [anchor], trail.places) for anchor in parts)
    return holds_relation(relation.kind, part, parts, trail.places)


def related(pool: Scored, relation: Relation, anchors: Anchors, phrase: Phrase, trail: Trail) -> Scored:
    """Those of the pool that stand in the relation; where it was said of one, the nearest of them."""
    trail.directed |= relation.kind in DIRECTIONS
    degrees = {part: degree(relation, part, anchors, trail) for part, _ in pool}
    kept = [(part, score * degrees[part]) for part, score in pool if degrees[part] >= HOLDS]
    if not kept and relation.kind in ("part_of", "inside", "on", "near", "with"):
        return _beside(pool, relation, flat(anchors), phrase, trail)
    trail.reject(pool, kept, f"not {relation_in_words(relation)}")
    if not kept:
        raise Unanswerable(f"No {named(phrase)} is {relation_in_words(relation)}.")
    if not flat(anchors):
        trail.steps.append(f"{relation_in_words(relation)}: nothing here is called so, and none is ruled out.")
        return kept
    trail.steps.append(f"{relation_in_words(relation)} ({parts_in_words(flat(anchors))}): {parts_in_words(kept)}.")
    if relation.kind not in DIRECTIONS or phrase.number is None or phrase.order or phrase.pick:
        return kept
    return _first_beside(kept, relation, flat(anchors), phrase, trail)


def by_distance(pool: Scored, kind: str, anchors: Sequence[int], phrase: Phrase, trail: Trail, about: float = 0.0) -> Scored:
    """The nearest or farthest of a pool, as many as are asked for and all that are as far."""
    score = dict(best_called([(part, score) for part, score in pool if part not in anchors] or pool, CALLED))
    kept = closest(list(score), kind, anchors, phrase.number or 1, about, trail.places)
    if len(score) > 1:
        trail.reject(pool, kept, f"not the {kind}")
        trail.steps.append(f"{WORDS[kind]} {parts_in_words(anchors)}: {parts_in_words(kept)}.")
    return [(part, score[part]) for part in kept]


def _first_beside(pool: Scored, relation: Relation, anchors: Sequence[int], phrase: Phrase, trail: Trail) -> Scored:
    """On the side of an anchor that was asked for: the nearest of those straight beside it, else of all."""
    pool = best_called(pool, CALLED)
    ahead = [(part, score) for part, score in pool if any(straight(relation.kind, part, anchor, trail.places) for anchor in anchors)]
    if 0 < len(ahead) < len(pool) and len(ahead) >= (phrase.number or 1):
        trail.reject(pool, ahead, f"not straight {relation_in_words(relation)}")
        trail.steps.append(f"straight {relation_in_words(relation)}: {parts_in_words(ahead)}.")
        pool = ahead
    about = SAME_WAY * min(float(trail.places.diagonal[anchor]) for anchor in anchors)  # it was not asked which is nearest
    return by_distance(pool, "nearest", anchors, phrase, trail, about)


def _beside(pool: Scored, relation: Relation, anchors: Sequence[int], phrase: Phrase, trail: Trail) -> Scored:
    """Where the tree has nothing so called in the anchor: what touches it or nearly does."""
    holding = [part for part, _ in pool if any(trail.places.spans.holds(part, anchor) for anchor in anchors)]
    size = {anchor: max(float(trail.places.diagonal[anchor]), 1e-12) for anchor in anchors}
    reach = {part: min(distance(part, a, trail.places) / size[a] for a in anchors) for part, _ in pool if part not in holding}
    limit = REACH if relation.kind != "near" else max(REACH, min(reach.values(), default=0.0) * (1 + SAME_WAY))
    kept = [(part, score * 0.5) for part, score in pool if reach.get(part, limit + 1) <= limit]
    trail.reject(pool, kept, f"not {relation_in_words(relation)}")
    if not kept:
        raise Unanswerable(f"No {named(phrase)} is {relation_in_words(relation)}.")
    where = f"{relation_in_words(relation)} ({parts_in_words(anchors)})"
    trail.steps.append(f"Nothing called so is quite {where}; nearest to it: {parts_in_words(kept)}.")
    return by_distance(kept, "nearest", anchors, phrase, trail) if phrase.number is not None else kept
