"""From what is shown to what is shown next: each action on a selection, and each result, as a function of the state.

Parts are numbers of the tree.
"""

from collections.abc import Sequence
from dataclasses import replace

from semquery.opened import Answered
from semquery.viewer.asking import LookedUp
from semquery.viewer.loaded import Loaded
from semquery.viewer.shown import Shown

KEPT = 20  # queries in the history


def selected(shown: Shown, parts: Sequence[int], trail: Sequence[int] | None = None) -> Shown:
    """Parts are selected; none inside another of them is kept, nor what is no part of the tree.

    `trail`: the way down through the selection, by default the path to the only selected part.
    """
    if shown.loaded is None:
        return shown
    lit = shown.lit_by(parts)
    way = trail if trail is not None else shown.loaded.tree.path(lit[0]) if len(lit) == 1 else ()
    return replace(shown, lit=lit, trail=tuple(way), below=(), message="")


def walked_up(shown: Shown) -> Shown:
    """What holds the selection is selected: the parent of one part, the smallest part around several."""
    if shown.loaded is None or not shown.lit:
        return shown
    several = len(shown.lit) > 1
    around = shown.loaded.spans.common(shown.lit) if several else int(shown.loaded.tree.parents[shown.lit[0]])
    if shown.lit == (around,):
        return replace(shown, message="This is the whole scene.")
    return replace(shown, lit=(around,), below=(*shown.below, shown.lit), message="")


def walked_down(shown: Shown) -> Shown:
    """What was walked up from is selected again; else the part inside that lies on the way down, or the one with most points."""
    if shown.below:
        return replace(shown, lit=shown.below[-1], below=shown.below[:-1], message="")
    if shown.loaded is None or not shown.lit:
        return shown
    if len(shown.lit) > 1:
        return replace(shown, message="Several parts are selected; select one of them to go inside it.")
    inner = shown.loaded.tree.children(shown.lit[0])
    if not inner:
        return replace(shown, message="This part has no parts inside.")
    num_points = shown.loaded.spans.num_points
    best = next((part for part in inner if part in shown.trail), None)
    return replace(shown, lit=(max(inner, key=lambda part: int(num_points[part])) if best is None else best,), message="")


def answered_query(shown: Shown, text: str, outcome: LookedUp) -> Shown:
    """A query has been looked up: the best answer is selected, none clears the selection; what could not be asked leaves it."""
    if outcome.heat is None:
        return replace(shown, query=text, found=(), heat=None, message=outcome.message)
    new = selected(shown, outcome.found[0].members if outcome.found else ())
    history = (text, *(other for other in shown.history if other != text))[:KEPT]
    return replace(new, query=text, found=outcome.found, heat=outcome.heat, history=history, message=outcome.message)


def answered_again(shown: Shown, outcome: LookedUp, select: bool) -> Shown:
    """The query that is shown has been looked up among other names; `select`: the best answer, if nothing answered before."""
    if outcome.heat is None:
        return replace(shown, message=outcome.message)
    is_first = select and bool(outcome.found) and not shown.found and not shown.lit
    new = selected(shown, outcome.found[0].members) if is_first else shown
    return replace(new, found=outcome.found, heat=outcome.heat, message=new.message if outcome.found else outcome.message)


def answered_question(shown: Shown, question: str, answered: Answered | None, message: str) -> Shown:
    """A question has been answered, by the names there are now: what is meant is selected; without an answer, nothing changes."""
    if answered is None:
        return replace(shown, question=question, answered=None, message=message)
    scene = shown.loaded.scene if shown.loaded and shown.loaded.scene else answered.scene
    new = selected(shown, answered.answer.targets)
    return replace(new, question=question, answered=Answered(answered.answer, scene), message=message)


def reread(shown: Shown, loaded: Loaded, lacking: str) -> Shown:
    """The run has been read again: another tree empties the selection, other names keep it.

    Its notice is told when it is another one (`lacking`: what was told while there was no tree).
    """
    was = shown.loaded.notice if shown.loaded else lacking
    kept = "" if shown.message == was else shown.message
    new = replace(shown, loaded=loaded, message=shown.message if loaded.notice == was else loaded.notice or kept)
    if shown.loaded is None or shown.loaded.tree is not loaded.tree:
        return replace(new, level=min(shown.level, loaded.max_level), lit=(), trail=(), below=(), found=(), heat=None, answered=None)
    if loaded.scene is None:
        return replace(new, found=(), heat=None, answered=None)
    return replace(new, answered=Answered(shown.answered.answer, loaded.scene) if shown.answered else None)
