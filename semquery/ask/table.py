"""The scene as a table, one row a part: what it is called and for, what it lies in, where and how large it is.

Positions and sizes are in the axes of the frame (right, away from the viewer, up), in hundredths of the scene's longest
side, from its left, near, lower corner. Names come from the scene: each stands in quotation marks of its own, which it
cannot close, and on the line of its row.
"""

from collections import defaultdict
from collections.abc import Iterable

from semquery.ask.record import Subject
from semquery.ask.shortlist import Row
from semquery.labelling.parse import one_line
from semquery.relations import in_words

COLUMNS = "id | name | what it is for | inside | middle (right, away, up) | size (right, away, up) | among its neighbours"
LONGEST_NAME, LONGEST_FUNCTION = 80, 160  # letters


def table(rows: Iterable[Row], subject: Subject) -> str:
    """The rows as lines, under their heading."""
    return "\n".join([COLUMNS, *(line(row, subject) for row in rows)])


def line(row: Row, subject: Subject) -> str:
    """A row; parts that share it are told by their ids, their names and what they lie in."""
    parent = int(subject.parts.parents[row.parts[0]])
    around = "the world" if row.parts[0] == subject.parts.root else str(parent)
    ids = ", ".join(map(str, row.parts))
    more = f" (+{row.hidden} parts inside)" if row.hidden else ""
    if row.others:
        return f"{ids} | {called(row.parts, subject)}{more} | {len(row.parts)} more parts; open one to see it closely | {around} | | | others"
    if len(row.parts) > 1:
        alike = f"{len(row.parts)} parts called alike; open one to tell them apart"
        return f"{ids} | {named(row.parts[0], subject)} | {alike} | {around} | | | alike"
    part = row.parts[0]
    return f"{part} | {named(part, subject)}{more} | {function(part, subject)} | {around} | {where(part, subject)} | {place(part, subject)}"


def named(part: int, subject: Subject) -> str:
    return quoted(subject.names[part], LONGEST_NAME) if part in subject.names else "unnamed"


def called(parts: Iterable[int], subject: Subject) -> str:
    """Each name once, with the ids of those that bear it."""
    ids = defaultdict(list)
    for part in parts:
        ids[named(part, subject)].append(str(part))
    return ", ".join(f"{name} {' '.join(bearers)}" for name, bearers in ids.items())


def function(part: int, subject: Subject) -> str:
    label = subject.labels.get(part)
    return quoted(label.function, LONGEST_FUNCTION) if label is not None and label.function.strip() else "not known"


def where(part: int, subject: Subject) -> str:
    """Middle and size, the columns of numbers."""
    places, root = subject.places, subject.parts.root
    origin = places.low[root]
    unit = max(float((places.high[root] - origin).max()), 1e-9) / 100
    middle, size = (places.centre[part] - origin) / unit, (places.high[part] - places.low[part]) / unit
    return f"{numbers(middle)} | {numbers(size)}"


def numbers(values: Iterable[float]) -> str:
    rounded = (round(float(value), 1) + 0.0 for value in values)  # no minus nought
    return " ".join(f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}" for value in rounded)


def place(part: int, subject: Subject) -> str:
    """How large it is among its siblings, and how it stands to them."""
    if part == subject.parts.root:
        return "the whole scene"
    words = in_words(part, subject.places, subject.parts)  # of ids alone: no name needs to be trusted
    return f"{rank(part, subject)}; {words}" if words else rank(part, subject)


def rank(part: int, subject: Subject) -> str:
    """Its place among its siblings by how large they look."""
    beside = subject.parts.children(int(subject.parts.parents[part]))
    if len(beside) == 1:
        return "alone"
    larger = sum(bool(subject.places.area[each] > subject.places.area[part]) for each in beside)
    return f"{larger + 1}. of {len(beside)} in size"


def quoted(text: str, most: int) -> str:
    """A text from the scene as a quotation that ends where it ends; no column either."""
    return f"“{one_line(text, most).replace('|', '/')}”"
