"""Naming the parts: a depth-first walk in which each part is seen in the context of its ancestors.

The conversation of a part is: instructions, then for each ancestor its pictures and its answer, then the
part's own pictures. A parent's conversation is a strict beginning of its children's, so servers with a prefix
cache pay for a part only once. Answers are journalled as they come; a part whose request has not changed is
not asked again, and a name given by the user is never overwritten.
"""

from collections.abc import Callable, Iterator, Mapping

from semquery.facts import PartFacts
from semquery.prompts import fill, parse_answer, template
from semquery.types import NodeLabel, PartTree
from semquery.vlm import Request, Turn, Vlm

Journal = Mapping[int, tuple[NodeLabel, str]]  # part → (label, key of its request)
ATTEMPTS = 3


def depth_first(parts: PartTree) -> Iterator[int]:
    """The root, then every part after its parent and before its parent's next child; larger children first."""
    stack = [parts.root]
    while stack:
        part = stack.pop()
        yield part
        stack.extend(sorted(parts.children(part), key=lambda child: (int(parts.num_points[child]), child)))


def walk(
    parts: PartTree,
    facts: Mapping[int, PartFacts],
    pictures: Callable[[int], tuple[bytes, ...]],
    vlm: Vlm,
    journal: Journal,
    on_label: Callable[[NodeLabel, str], None],
) -> dict[int, NodeLabel]:
    """Label every part. `on_label(label, key)` is called as soon as an answer is in, for new answers only."""
    labels: dict[int, NodeLabel] = {}
    shown: dict[int, Turn] = {}
    for part in depth_first(parts):
        shown[part] = _question(parts, facts, labels, part, pictures(part))
        request = Request(_conversation(parts, labels, shown, part), facts[part])
        key = request.key(vlm)
        known = journal.get(part)
        if known is not None and (known[0].source == "user" or known[1] == key):
            labels[part] = known[0]
            continue
        labels[part] = ask(vlm, request, part)
        on_label(labels[part], key)
    return labels


def ask(vlm: Vlm, request: Request, part: int) -> NodeLabel:
    """One part's label; a part whose answers cannot be read is called unknown, and the walk goes on."""
    raw = ""
    for _ in range(ATTEMPTS):
        raw = vlm(request)
        answer = parse_answer(raw)
        if answer is not None:
            return label_from(answer, part, vlm.source, raw)
    return NodeLabel(part, "unknown", thinking="the answer could not be read", confidence=0.0, source=vlm.source, raw=raw)


def label_from(answer: Mapping, part: int, source: str, raw: str = "") -> NodeLabel:
    """A label from an answer's JSON, whatever is missing or of the wrong type left out."""
    text = lambda key: value.strip() if isinstance(value := answer.get(key), str) else ""  # noqa: E731
    items = lambda key: value if isinstance(value := answer.get(key), list) else []  # noqa: E731
    alternatives = tuple(
        (str(a["name"]), _unit(a.get("score", 0.5))) for a in items("alternatives") if isinstance(a, dict) and a.get("name"))
    return NodeLabel(
        part=part, name=" ".join(text("name").split()), synonyms=tuple(s.strip() for s in items("synonyms") if isinstance(s, str) and s.strip()),
        function=text("function"), alternatives=alternatives, thinking=text("thinking"),
        confidence=_unit(answer.get("confidence", 0.5)), source=source, raw=raw,
    )


def labels_by_hand(record: object, parts: PartTree) -> list[NodeLabel]:
    """Labels from a JSON object: part number → name, or → {name, synonyms, function}.

    Raises ValueError for parts that do not exist and for values that are neither.
    """
    if not isinstance(record, Mapping) or not record:
        raise ValueError('Names by hand are a JSON object such as {"12": "handle", "7": {"name": "door", "synonyms": ["flap"]}}.')
    labels = []
    for key, value in record.items():
        if not str(key).isdecimal() or int(key) >= parts.num_parts:
            raise ValueError(f"There is no part {key!r}: parts are numbered 0 to {parts.num_parts - 1} (see parts.json or views/).")
        answer = {"name": value} if isinstance(value, str) else value
        if not isinstance(answer, Mapping) or not isinstance(answer.get("name"), str) or not answer["name"].strip():
            raise ValueError(f"Part {key}: expected a name or an object with a name, got {value!r}.")
        labels.append(label_from({"confidence": 1.0, **answer}, int(key), "user"))
    return labels


def _conversation(parts: PartTree, labels: Mapping[int, NodeLabel], shown: Mapping[int, Turn], part: int) -> tuple[Turn, ...]:
    path = [part] if part == parts.root else [parts.root, *parts.path(part)]
    turns = [Turn("system", template("label_system.md"))]
    for ancestor in path[:-1]:
        turns += [shown[ancestor], Turn("assistant", labels[ancestor].raw or labels[ancestor].name)]
    return (*turns, shown[part])


def _question(parts: PartTree, facts: Mapping[int, PartFacts], labels: Mapping[int, NodeLabel], part: int, images: tuple[bytes, ...]) -> Turn:
    if part == parts.root:
        place = "This is the whole scene."
    else:
        parent = int(parts.parents[part])
        place = f"This is a part of the {labels[parent].name}, which has {len(parts.children(parent))} parts."
    return Turn("user", fill(template("label_part.md"), place=place, facts=facts[part].in_words()), images)


def _unit(value: object) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, (int, float)) else 0.5
