"""Second looks, against errors that travel: a wrong parent misleads all that is inside it, and siblings do not see each other.

`reconsider` goes from the bottom up: a part that does not fit half of its own parts is asked once more, shown those
parts; if its name changes, what is inside it is named again, once. `siblings` shows a parent's parts together and lets
the model rename some. Neither touches a name given by the user. When a request fails, the names stay.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from semquery.labelling.answers import is_named
from semquery.labelling.asking import Outcome, ask
from semquery.labelling.context import after_answer, request_for
from semquery.labelling.parse import clean_name, json_objects, one_line, parse_answer, without_thoughts
from semquery.labelling.schema import RECONSIDER_SCHEMA, SIBLINGS_SCHEMA
from semquery.labelling.walk import Walk
from semquery.labelling.workers import run_in_order
from semquery.prompts import fill, template
from semquery.types import NodeLabel
from semquery.vlm import Turn

MOST_SHOWN = 12  # pictures of children in one question


def reconsider(walk: Walk) -> list[int]:
    """Ask again for suspected parents, the deepest first; the parts whose name changed."""
    parts, changed = walk.subject.parts, []
    for part in range(parts.num_parts):  # children have smaller numbers than their parents
        suspects = _suspects(walk, part)
        if not suspects or part in walk.given:
            continue
        before, (after, key) = walk.labels[part], _asked_again(walk, part, suspects)
        if after is None or _same(after.name, before.name):
            continue
        walk.set(after, key)
        walk.run(np.flatnonzero(parts.holds[part] & (np.arange(parts.num_parts) != part)).tolist())
        changed.append(part)
    return changed


def _suspects(walk: Walk, part: int) -> list[int]:
    """The children that do not fit the part, if they are at least half of those that were asked and named."""
    heard = [c for c in walk.subject.parts.children(part) if is_named(walk.labels[c]) and walk.labels[c].source != "user"]
    against = [c for c in heard if walk.labels[c].parent_suspect]
    return against if against and 2 * len(against) >= len(heard) else []


def _asked_again(walk: Walk, part: int, suspects: list[int]) -> tuple[NodeLabel | None, str]:
    label = walk.labels[part]
    names = "\n".join(f"- “{walk.labels[c].name}”" for c in _in_order(walk, part) if is_named(walk.labels[c]))
    images = tuple(image for c in suspects[:MOST_SHOWN] for image in walk.questions[c].images[:1])
    last = Turn("user", fill(template("reconsider.md"), name=label.name, children=names), images)
    turns = after_answer(walk.subject, part, walk.questions, walk.labels, walk.config, last)
    request = request_for(turns, None, walk.config, RECONSIDER_SCHEMA)
    outcome = ask(walk.asker, request, parse_answer, walk.config.repairs, part in walk.fresh)
    if outcome.read is None:
        return None, outcome.key
    again = walk.judged(part, request, outcome)
    told = f"was “{label.name}”, which {len(suspects)} of its parts did not fit"
    return replace(again, calls=again.calls + label.calls, parent_suspect=label.parent_suspect, reason=_joined(again.reason, told)), outcome.key


def siblings(walk: Walk) -> list[int]:
    """One look at the parts of every parent together; the parts that were renamed."""
    parts, renamed = walk.subject.parts, []
    parents = [p for p in range(parts.num_parts) if sum(is_named(walk.labels[c]) for c in parts.children(p)) >= 2]
    decided = {p: {c: walk.labels[c] for c in parts.children(p)} for p in parents}

    def look(parent: int) -> None:
        decided[parent] = _compared(walk, parent)

    run_in_order(parents, {}, {p: i for i, p in enumerate(reversed(parents))}, look, walk.workers)
    for parent in parents:  # names change only when all have been looked at: no question depends on another's answer
        for child, label in decided[parent].items():
            if label != walk.labels[child]:
                walk.set(label, "")
                renamed.append(child)
    return renamed


def _compared(walk: Walk, parent: int) -> dict[int, NodeLabel]:
    """The labels of a parent's parts after they were looked at together."""
    children = [c for c in _in_order(walk, parent) if is_named(walk.labels[c])]
    lines = [f"{k}. “{walk.labels[c].name}”: {walk.subject.facts[c].in_words()}" for k, c in enumerate(children, 1)]
    images = tuple(walk.subject.reduced(image) for c in children[:MOST_SHOWN] for image in walk.questions[c].images[-1:])
    whole = f"the “{walk.labels[parent].name}”" if is_named(walk.labels[parent]) else "this part"
    last = Turn("user", fill(template("siblings.md"), parent=whole, children="\n".join(lines)), images)
    turns = after_answer(walk.subject, parent, walk.questions, walk.labels, walk.config, last)
    request = request_for(turns, None, walk.config, SIBLINGS_SCHEMA)
    outcome: Outcome = ask(walk.asker, request, renamings, walk.config.repairs)
    found = {child: walk.labels[child] for child in children}
    for number, name, reason in outcome.read or ():
        child = children[number - 1] if number <= len(children) else None
        if child is not None and walk.labels[child].source != "user" and not _same(name, walk.labels[child].name):
            found[child] = renamed_to(walk.labels[child], name, reason)
    return found


def renamings(text: str) -> list[tuple[int, str, str]] | None:
    """(number, name, reason) of every renaming in an answer; None when it holds no list of them."""
    lists = [record["renamed"] for record in json_objects(without_thoughts(text)) if isinstance(record.get("renamed"), list)]
    if not lists:
        return None
    return [read for item in lists[-1] if (read := _renaming(item)) is not None]


def _renaming(item: Any) -> tuple[int, str, str] | None:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return None
    number, name = item.get("number"), clean_name(item["name"])
    if not isinstance(number, int) or isinstance(number, bool) or number < 1 or not name or name.lower() == "unknown":
        return None
    return number, name, one_line(str(item.get("reason", "")), 200)


def renamed_to(label: NodeLabel, name: str, reason: str) -> NodeLabel:
    """The label under a new name; the old one stays as an alternative, so that it can still be found."""
    others = tuple(a for a in label.alternatives if not _same(a[0], name))
    why = _joined(label.reason, f"was “{label.name}”, renamed beside its siblings" + (f": {reason}" if reason else ""))
    synonyms = tuple(s for s in label.synonyms if not _same(s, name))
    return replace(label, name=name, synonyms=synonyms, alternatives=((label.name, label.confidence), *others), reason=why)


def _in_order(walk: Walk, parent: int) -> list[int]:
    """Its children, larger ones first."""
    parts = walk.subject.parts
    return sorted(parts.children(parent), key=lambda c: (-int(parts.num_points[c]), c))


def _same(a: str, b: str) -> bool:
    return " ".join(a.lower().split()) == " ".join(b.lower().split())


def _joined(*reasons: str) -> str:
    return "; ".join(r for r in reasons if r)
