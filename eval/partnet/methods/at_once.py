"""All parts named at once: one request shows the whole, sheets of numbered pictures of the parts, and the tree in words.

A tree of more than MOST_NODES parts is asked in several requests, from the top down, each told the names found so far.
Nothing that a model forgets is asked again: a part that an answer does not name has no name.
"""

import io
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eval.partnet.methods.asking import CountedAsker
from eval.partnet.methods.backends import Backends
from eval.partnet.methods.in_words import prompt
from eval.partnet.methods.walked import said_of
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, Said
from eval.queries.known import true_tree
from semquery.labelling.answers import failed_label
from semquery.labelling.asking import ask
from semquery.labelling.confidence import NOT_KNOWN, name_confidence
from semquery.labelling.parse import clean_name, json_objects, without_thoughts
from semquery.labelling.schema import bounded, record
from semquery.prompts import fill
from semquery.types import NodeLabel, PartTree
from semquery.vlm import Answer, Request, Turn

MOST_NODES, ON_A_SHEET, COLUMNS, CELL = 40, 20, 5, 168  # parts of a request and of a sheet; pixels of a small picture
TOKENS_OF_NAME, TOKENS_OF_THINKING = 20, 250  # room in an answer
_PAIR = re.compile(r'"[^"\d]{0,12}(\d{1,9})[^"\d]{0,3}"\s*:\s*"((?:[^"\\]|\\.)*)"', re.S)


def whole_tree(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """One request for an object of up to MOST_NODES parts. Raises Unreachable when the model is away."""
    start, asker = time.monotonic(), CountedAsker(backends.vlm, backends.journal)
    parts = true_tree(shown.thing.parents, shown.thing.scene.part_of_face)
    order, labels = list(top_down(parts)), dict[int, NodeLabel]()
    for first in range(0, len(order), MOST_NODES):
        nodes = order[first : first + MOST_NODES]
        request = _request(shown, parts, nodes, labels, backends)
        outcome = ask(asker, request, lambda text, nodes=nodes: names_in(text, nodes), backends.config.label.repairs)
        names = outcome.read or {}
        labels |= {node: _label(node, names.get(node, ""), outcome.answer, backends.vlm.source, outcome.reason) for node in nodes}
    asker.check_reached()
    return said_of(labels, asked, backends, asker, start)


def _request(shown: Shown, parts: PartTree, nodes: Sequence[int], labels: Mapping[int, NodeLabel], backends: Backends) -> Request:
    root = parts.root
    pictures = [*shown.pictures(root)[:1], *_sheets(shown, [node for node in nodes if node != root and shown.pictures(node)])]
    text = fill(prompt("whole_tree.md"), tree=tree_in_words(parts, labels), numbers=", ".join(map(str, nodes)))
    turns = (Turn("system", fill(prompt("whole_system.md"), marking=shown.marking)), Turn("user", text, tuple(pictures)))
    room = max(backends.config.label.max_tokens, TOKENS_OF_THINKING + TOKENS_OF_NAME * len(nodes))
    return Request(turns, None, schema_for(nodes), room)


def _sheets(shown: Shown, nodes: Sequence[int]) -> Iterator[bytes]:
    """The closest picture of each node, small, with its number below it; each node has one."""
    from PIL import Image

    from semquery.pictures import captioned, enlarged, grid
    from semquery.views import png_bytes

    for first in range(0, len(nodes), ON_A_SHEET):
        cells = []
        for node in nodes[first : first + ON_A_SHEET]:
            with Image.open(io.BytesIO(shown.pictures(node)[-1])) as picture:
                cells.append(captioned(enlarged(np.asarray(picture.convert("RGB")), CELL), str(node)))
        yield png_bytes(grid(cells, COLUMNS))


def tree_in_words(parts: PartTree, labels: Mapping[int, NodeLabel]) -> str:
    """A line for every part, indented under the part that holds it, with its name where it has one."""
    named = {node: f": “{label.name}”" for node, label in labels.items() if label.status == "named"}
    return "\n".join(f"{'  ' * int(parts.depth[node])}{node}{named.get(node, '')}" for node in top_down(parts))


def top_down(parts: PartTree) -> Iterator[int]:
    """The root, then every part after its parent and before its parent's next child, children by number."""
    stack = [parts.root]
    while stack:
        yield (node := stack.pop())
        stack.extend(reversed(parts.children(node)))


def schema_for(nodes: Sequence[int]) -> dict[str, Any]:
    """An answer with a name for each of the nodes."""
    return record(thinking=bounded(600), names=record(**{str(node): {"type": "string", "minLength": 1, "maxLength": 60} for node in nodes}))


def names_in(text: str, nodes: Collection[int]) -> dict[int, str] | None:
    """node → name of the nodes that an answer names ("" for what cannot be a name); None when it names none of them.

    The last object that names one of them counts: numbers to names, bare or under "names", as {"name": …}, or a list of
    {"id": …, "name": …}; where it is broken or cut off, its whole pairs; else lines such as "12: handle".
    """
    told = without_thoughts(text, lambda answer: bool(_pairs(answer, nodes)))
    for found in reversed([_pairs(answer, nodes) for answer in json_objects(told)]):
        if found:
            return found
    pairs = _PAIR.findall(told) or re.findall(r"^[\W_]*(?:part|node|id)?[\W_]*(\d{1,9})\W{1,4}(\w[^\n]*)$", told, re.M | re.I)
    return {int(node): _name(name) for node, name in pairs if int(node) in nodes} or None


def _pairs(answer: Mapping[Any, Any], nodes: Collection[int]) -> dict[int, str]:
    """The nodes that an object names."""
    lowered = {str(key).strip().lower(): value for key, value in answer.items()}
    given = next((lowered[key] for key in ("names", "parts", "labels", "nodes") if isinstance(lowered.get(key), (dict, list))), answer)
    items = given.items() if isinstance(given, Mapping) else [(_id_of(item), item) for item in given if isinstance(item, Mapping)]
    numbers = ((re.fullmatch(r"\D{0,12}(\d{1,9})\D{0,3}", str(key)), value) for key, value in items)
    return {int(number[1]): _name(value) for number, value in numbers if number and int(number[1]) in nodes}


def _id_of(item: Mapping[Any, Any]) -> Any:
    return next((item[key] for key in ("id", "part", "number", "node") if key in item), None)


def _name(value: Any) -> str:
    """A name that can be used, "" for none and for unknown."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("name", "label") if key in value), "")
    name = clean_name(value) if isinstance(value, str) else ""
    return "" if name.lower() == "unknown" else name


def _label(node: int, name: str, answer: Answer | None, source: str, reason: str) -> NodeLabel:
    if not name:
        return failed_label(node, source, reason or "the answer does not name it")
    return NodeLabel(node, name, confidence=_certainty(answer, node, name), source=source)


def _certainty(answer: Answer | None, node: int, name: str) -> float:
    """Of the tokens that spell the node's name, those behind its number."""
    tokens = answer.tokens if answer else ()
    marks = list(re.finditer(rf'"\D{{0,12}}{node}\D{{0,3}}"\s*:\s*"', "".join(text for text, _ in tokens)))
    if not marks:
        return NOT_KNOWN
    ends = np.cumsum([len(text) for text, _ in tokens])
    start, stop = marks[-1].end(), marks[-1].end() + len(name)
    inside = [token for token, end in zip(tokens, ends, strict=True) if end > start and end - len(token[0]) < stop]
    certain = name_confidence(inside, name)
    return NOT_KNOWN if certain is None else certain
