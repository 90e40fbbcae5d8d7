"""Resolving a phrase step by step, with a record of what was done and why parts dropped out."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from semquery.phrases import Phrase, Relation, is_plain, singular, without_articles
from semquery.relations import HOLDS, Places, nested
from semquery.resolve.apart import apart, drop
from semquery.resolve.pool import EQUAL, alike_children, best_called, chooses, outermost, surroundings
from semquery.resolve.readings import reread
from semquery.resolve.record import Resolution
from semquery.resolve.relate import Anchors, by_distance, degree, flat, related
from semquery.resolve.select import LINES, chosen, in_line
from semquery.resolve.trail import Names, Scored, Trail, Unanswerable
from semquery.resolve.wording import parts_in_words, relation_in_words
from semquery.types import PartTree

MOST_REJECTED = 24
IN_TREE = {"part_of", "inside", "on", "with", "without"}  # what the tree tells of parts without a surface point too

Measured = list[tuple[Relation, Anchors]]


def resolve(
    phrase: Phrase, candidates: Callable[[str], Sequence[tuple[int, float]]], places: Places, parts: PartTree,
    is_name: Callable[[str], bool] = lambda text: False, inside: Callable[[str, int], Sequence[int]] = lambda text, part: (),
) -> Resolution:
    """The parts a phrase means.

    `candidates`: the parts called so, best first, none nested; none where nothing is called so. `is_name`: whether a part is called
    exactly so, which settles whether "bottom panel" is a name or a choice; by default it is one where nothing is called "panel".
    `inside`: the parts in a part that are of the kind a text names, such as the buttons in a keypad that is itself called "buttons".

    A scene in which something is missing gives a Resolution that says so in `failed`.
    """
    trail = Trail(Names(candidates, is_name, inside), places, parts)
    try:
        found = find(phrase, trail)
    except Unanswerable as reason:
        return Resolution((), (), tuple(trail.anchors), trail.told(), tuple(trail.rejected.items()), str(reason))
    members = tuple(part for part, _ in found)
    rejected = [(part, why) for part, why in trail.rejected.items() if part not in members][:MOST_REJECTED]
    anchors = tuple(part for part in trail.anchors if part not in members)
    return Resolution(members, tuple(score for _, score in found), anchors, trail.told(), tuple(rejected))


def find(phrase: Phrase, trail: Trail) -> Scored:
    """The parts that a phrase means, best first; at least one. Raises Unanswerable."""
    if phrase.also:
        together = [item for each in (replace(phrase, also=()), *phrase.also) for item in find(each, trail)]
        return list(dict(together).items())  # also what lies in another of them: it was named
    phrase, reading = reread(phrase, trail.called, trail.names.is_name)
    trail.steps += reading
    lines = [r for r in phrase.relations if r.of and r.of[0].head in LINES and not any(map(trail.names.is_name, (r.of[0].head, r.of[0].text)))]
    measured = [(r, _anchors(r, phrase, trail)) for r in phrase.relations if r not in lines]
    pool, before = _pool(phrase, measured, trail), (len(trail.steps), dict(trail.rejected))
    try:
        return _narrowed(pool, phrase, lines, measured, trail)
    except Unanswerable:
        inner = _opened(pool, phrase, trail)
        if not inner:
            raise
        trail.steps[before[0] :], trail.rejected = [_looked_inside(phrase, pool, inner)], before[1]
        return _narrowed(inner, phrase, lines, measured, trail)


def _narrowed(pool: Scored, phrase: Phrase, lines: Sequence[Relation], measured: Measured, trail: Trail) -> Scored:
    """What relations, exclusions, rows, choices and the number leave of a pool."""
    far = [(relation, anchors) for relation, anchors in measured if relation.kind in ("nearest", "farthest")]
    for relation, anchors in measured:
        if (relation, anchors) not in far:
            pool = related(pool, relation, anchors, phrase, trail)
    gone = [(other, _excluded(pool, other, phrase, trail)) for other in phrase.exclude]
    pool = drop(pool, gone, phrase, trail)
    for relation in lines:
        pool = in_line(pool, relation.of[0], trail)
    pool = chosen(pool, phrase, trail)
    for relation, anchors in far:
        pool = by_distance(pool, relation.kind, flat(anchors), phrase, trail)
    return apart(_counted(pool, phrase, trail), gone, phrase, trail)


# ------------------------------------------------------------------ what may be meant


def _pool(phrase: Phrase, measured: Measured, trail: Trail) -> Scored:
    """What may be meant before relations and choices."""
    if not phrase.head and is_plain(phrase):
        raise Unanswerable("Nothing is asked for.")
    if not phrase.head:
        found = _any_part(phrase, measured, trail)
        trail.steps += [] if measured else [f"Everything here: {parts_in_words(found)}."]
        return [(part, 1.0) for part in found]
    found = trail.called(phrase)
    if not found and (unseen := trail.unseen(phrase)):
        if {r.kind for r in phrase.relations} <= IN_TREE and not (phrase.pick or phrase.order):
            return [(part, 1.0) for part in unseen]
        raise Unanswerable(f"“{phrase.head}” is {parts_in_words(unseen)}, without a surface point here, so “{phrase}” cannot be answered.")
    if not found:
        raise Unanswerable(f"Nothing here is called “{phrase.head}”, so “{phrase}” cannot be answered.")
    inner = _opened(found, phrase, trail) if len(found) == 1 and chooses(phrase) else []
    trail.steps.append(_looked_inside(phrase, found, inner) if inner else f"“{phrase.head}”: {parts_in_words(found)}.")
    return inner or found


def _opened(pool: Scored, phrase: Phrase, trail: Trail) -> Scored:
    """The pool with what is alike, or called so, inside its groups; none where there are no groups."""
    inner = {part: alike_children(part, trail.places, trail.parts) or _called_inside(part, phrase, trail) for part, _ in pool if phrase.head}
    if not any(inner.values()):
        return []
    return [(child, score) for part, score in pool for child in (inner[part] or [part])]


def _called_inside(part: int, phrase: Phrase, trail: Trail) -> list[int]:
    found = [int(child) for child in trail.names.inside(phrase.head, part) if trail.places.num_points[child]]
    return found if len(found) > 1 else []


def _looked_inside(phrase: Phrase, pool: Scored, inner: Scored) -> str:
    return f"“{phrase.head}”: {parts_in_words(pool)}, a group of {len(inner)} alike or called so, so one looks inside it."


def _any_part(phrase: Phrase, measured: Measured, trail: Trail) -> list[int]:
    """Parts of a sensible level: those of the anchor, or those around it at the first level where the relation holds."""
    inner = [child for relation, anchors in measured if relation.kind in ("part_of", "inside")
             for anchor in flat(anchors) for child in trail.parts.children(anchor) if trail.places.num_points[child]]
    inner += [int(trail.parts.parents[anchor]) for relation, anchors in measured if relation.kind == "with" for anchor in flat(anchors)]
    if inner or not measured:
        return list(dict.fromkeys(inner)) or outermost(trail.parts)
    around = list(dict.fromkeys(part for _, anchors in measured for part in flat(anchors)))
    if not around:  # only of what lacks something may there be no anchor
        return outermost(trail.parts)
    graded = [(relation, anchors) for relation, anchors in measured if relation.kind not in ("nearest", "farthest")]
    found: list[int] = []
    for level in surroundings(around, trail.places, trail.parts):
        level = [part for part in level if trail.places.num_points[part]]
        found += [part for part in level if all(degree(relation, part, anchors, trail) >= HOLDS for relation, anchors in graded)]
        if found and phrase.number is not None:
            break
    if not found:
        raise Unanswerable(f"There is nothing {relation_in_words(measured[0][0])} here.")
    return trail.places.spans.highest(found)


def _anchors(relation: Relation, phrase: Phrase, trail: Trail) -> Anchors:
    """The parts that a relation is measured from, by the phrase that names them."""
    found: Anchors = []
    for anchor in relation.of:
        try:
            members = [part for part, _ in find(anchor, trail)]
        except Unanswerable as reason:
            if relation.kind == "without":
                continue
            said = str(reason).removesuffix(".").partition(", so “")[0]
            raise Unanswerable(f"{said}, so “{phrase}” cannot be answered.") from None
        if relation.kind == "between" and len(members) == 1 and len(relation.of) == 1:
            members = alike_children(members[0], trail.places, trail.parts) or members
        found.append(members)
    if relation.kind != "without" and len(flat(found)) < (2 if relation.kind == "between" else 1):
        raise Unanswerable(f"“{phrase}” needs two parts to be between, and there is {len(flat(found)) or 'none'}.")
    trail.anchors += [part for part in flat(found) if part not in trail.anchors]
    return found


# ------------------------------------------------------------------ what stays


def _excluded(pool: Scored, other: Phrase, phrase: Phrase, trail: Trail) -> list[int]:
    """The parts an exclusion means: of the same kind, they are chosen from what is there; else looked up."""
    try:
        if trail.names.is_name(other.text):  # “the chair without the back” speaks of its back, “all drawers but the top” of a drawer
            held = [part for part, _ in trail.called(Phrase(without_articles(other.text))) if any(nested(part, p, trail.places) for p, _ in pool)]
            if held:
                return held
        if singular(other.head) == singular(phrase.head) and not other.relations and not (other.name and trail.names.is_name(other.name)):
            return [part for part, _ in _counted(chosen(pool, other, trail), other, trail)]
        return [part for part, _ in find(other, trail)]
    except Unanswerable:
        return []


def _counted(pool: Scored, phrase: Phrase, trail: Trail) -> Scored:
    """As many as the phrase asks for, best first."""
    found = sorted(pool, key=lambda item: -item[1])
    if phrase.number is None:
        return found
    if phrase.number > 1:
        if len(found) != phrase.number:
            trail.steps.append(f"“{phrase}” asks for {phrase.number}, there are {'only ' * (len(found) < phrase.number)}{len(found)}.")
        return found[: phrase.number]
    kept = best_called(found, EQUAL)
    if not phrase.head and len(kept) < len(found):
        trail.reject(found, kept, "less clearly so")
    if len(kept) > 1:
        trail.steps.append(f"“{phrase}” does not tell which of {len(kept)} is meant: {parts_in_words(kept)}.")
    return kept
