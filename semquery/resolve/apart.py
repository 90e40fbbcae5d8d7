"""What an exclusion takes away: whole parts, or parts of parts.

"Buttons but not the start button" leaves out a button. "Hot dogs but not the mustard" asks for no fewer hot dogs, but for
less of each: a part that holds what is excluded is answered by its other parts, as few as are needed.
"""

from collections.abc import Collection, Sequence

from semquery.phrases import Phrase
from semquery.relations import nested
from semquery.resolve.trail import Scored, Trail, Unanswerable
from semquery.resolve.wording import listed

Excluded = Sequence[tuple[Phrase, list[int]]]  # what an exclusion says, and the parts it means


def drop(pool: Scored, excluded: Excluded, phrase: Phrase, trail: Trail) -> Scored:
    """Without the parts that are excluded or lie in one that is; of parts of a name, what nothing is called needs no exclusion."""
    for other, gone in excluded:
        if not gone and not phrase.head:
            raise Unanswerable(f"Nothing here is called “{other}”, so “{phrase}” leaves out nothing.")
        kept = [(part, score) for part, score in pool if not any(trail.places.spans.holds(taken, part) for taken in gone)]
        trail.reject(pool, kept, f"excluded by “{other}”")
        trail.steps.append(f"without “{other}”: {f'part {listed(gone)} left out' if gone else 'nothing here is called so'}.")
        if not kept:
            raise Unanswerable(f"“{phrase}” excludes all that it names.")
        pool = kept
    return pool


def apart(found: Scored, excluded: Excluded, phrase: Phrase, trail: Trail) -> Scored:
    """Parts that hold something excluded, as their other parts."""
    gone = [taken for _, parts in excluded for taken in parts]
    left = [(other, score) for part, score in found for other in remainder(part, gone, trail)]
    if not left:
        raise Unanswerable(f"What “{phrase}” leaves is no part of its own: the tree has no other parts in part {listed([part for part, _ in found])}.")
    rest = [part for part, _ in left]
    if opened := [part for part, _ in found if part not in rest]:
        trail.steps.append(f"Of part {listed(opened)} the other parts are left: {listed(rest)}.")
    return left


def remainder(part: int, gone: Collection[int], trail: Trail) -> list[int]:
    """The fewest parts that are all of a part but for what is gone. Points that are in no inner part go with it."""
    if any(trail.places.spans.holds(taken, part) for taken in gone):
        return []
    if not any(nested(part, taken, trail.places) for taken in gone):
        return [part]
    return [rest for child in trail.parts.children(part) if trail.places.num_points[child] for rest in remainder(child, gone, trail)]
