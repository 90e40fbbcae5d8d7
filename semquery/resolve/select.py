"""Choosing from a pool what places, sizes, counting and rows say, with the steps on record."""

from collections.abc import Sequence

from semquery.phrases import PLACES, Phrase
from semquery.resolve.choose import at_rank, picked, ranked, rows
from semquery.resolve.pool import CALLED, best_called
from semquery.resolve.trail import Scored, Trail, Unanswerable
from semquery.resolve.wording import parts_in_words

LINES = ("row", "column", "line")


def chosen(pool: Scored, phrase: Phrase, trail: Trail) -> Scored:
    """What places, sizes and counting choose."""
    if not (phrase.pick or phrase.order):
        return pool
    score = dict(best_called(pool, CALLED))
    trail.directed |= bool(set(phrase.pick.split()) & set(PLACES)) or bool(phrase.order and phrase.order.along in PLACES)
    kept = list(score)
    if phrase.pick and len(kept) > 1:
        kept = picked(kept, phrase.pick, None if phrase.order else phrase.number, trail.places)
        trail.steps.append(f"{phrase.pick} of {len(score)}: {parts_in_words(kept)}.")
    if phrase.order:
        kept = _in_order(kept, phrase, trail)
    trail.reject(pool, kept, f"not the one that “{phrase}” chooses")
    return [(part, score[part]) for part in kept]


def in_line(pool: Scored, line: Phrase, trail: Trail) -> Scored:
    """Those in a row or a column of the parts themselves: "in the top row"."""
    sides = ("top", "bottom") if line.head == "row" else ("left", "right")
    side = next((word for word in line.pick.split() if word in sides), "")
    if not side and not line.order and "middle" not in line.pick:
        return pool
    trail.directed = True
    along = side or (line.order.along if line.order and line.order.along in sides else sides[0])
    lines = rows([part for part, _ in pool], along, trail.places)
    at = 0 if side else at_rank(lines, line.order.rank) if line.order else len(lines) // 2
    if at is None:
        raise Unanswerable(f"There are {len(lines)} such {line.head}s, so there is no “{line}”.")
    trail.reject(pool, lines[at], f"not in “{line}”")
    trail.steps.append(f"in “{line}”: {parts_in_words(lines[at])}.")
    return [(part, score) for part, score in pool if part in lines[at]]


def _in_order(pool: list[int], phrase: Phrase, trail: Trail) -> list[int]:
    """The part, or the row of parts, at a place in the order; of "the first two", two in a row."""
    order, wanted = phrase.order, phrase.number or 1
    if not order.along:
        trail.directed = True
    lines = ranked(pool, order.along, trail.places)
    said = f"from the {order.along}" if order.along else "row by row from the top left, the front ones first"
    start = at_rank(lines, order.rank, wanted)
    if start is None:
        raise Unanswerable(f"Counted {said} there {_places(lines)}, so “{phrase}” is not among them.")
    kept = [part for line in lines[start : start + wanted] for part in line]
    trail.steps.append(f"number {start + 1} of {len(lines)} counted {said}{_sharing(lines)}: {parts_in_words(kept)}.")
    return kept


def _places(lines: Sequence[list[int]]) -> str:
    """How many there are to count; parts at one place count once."""
    num_parts = sum(map(len, lines))
    return f"are {len(lines)}" if num_parts == len(lines) else f"are {num_parts} at {len(lines)} place{'s' * (len(lines) != 1)}"


def _sharing(lines: Sequence[list[int]]) -> str:
    """What is counted where several parts share a place."""
    num_parts = sum(map(len, lines))
    return "" if num_parts == len(lines) else f" ({num_parts} parts, some at one place)"
