"""Names from the shape of the tree alone: no pictures, no measurements. What a model scores so is its prior, not its sight.

A part is asked after its ancestors, whose questions and answers precede its own as in the product's walk; it is told
where the part stands and how many parts lie in it, nothing else.
"""

import time
from dataclasses import replace
from pathlib import Path

from eval.partnet.methods.asking import CountedAsker
from eval.partnet.methods.backends import Backends
from eval.partnet.methods.walked import said_of
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, Said
from eval.queries.known import true_tree
from semquery.labelling import NODE_SCHEMA, label_from, parse_answer
from semquery.labelling.answers import failed_label, is_named, said
from semquery.labelling.asking import ask
from semquery.labelling.confidence import NOT_KNOWN, name_confidence
from semquery.prompts import fill
from semquery.types import NodeLabel, PartTree
from semquery.vlm import Request, Turn

PROMPTS = Path(__file__).parents[1] / "prompts"


def text_only(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """Depth first in words. Raises Unreachable when the model is away."""
    start, asker = time.monotonic(), CountedAsker(backends.vlm, backends.journal)
    parts = true_tree(shown.thing.parents, shown.thing.scene.part_of_face)
    labels: dict[int, NodeLabel] = {}
    questions: dict[int, Turn] = {}
    for node in reversed(range(parts.num_parts)):  # a parent's number is larger than its children's
        questions[node] = Turn("user", fill(prompt("text_part.md"), place=place(parts, node, labels), shape=shape(parts, node)))
        labels[node] = _asked(asker, parts, node, questions, labels, backends)
    asker.check_reached()
    return said_of(labels, asked, backends, asker, start)


def _asked(
    asker: CountedAsker, parts: PartTree, node: int, questions: dict[int, Turn], labels: dict[int, NodeLabel], backends: Backends
) -> NodeLabel:
    """The label that the model gives."""
    config, source = backends.config.label, backends.vlm.source
    turns = [Turn("system", prompt("text_system.md"))]
    for ancestor in [a for a in dict.fromkeys((parts.root, *parts.path(node))) if a != node]:
        turns += [questions[ancestor], Turn("assistant", said(labels[ancestor]))]
    outcome = ask(asker, Request((*turns, questions[node]), None, NODE_SCHEMA, config.max_tokens), parse_answer, config.repairs)
    if outcome.read is None or outcome.answer is None:
        return failed_label(node, source, outcome.reason, outcome.answer.text if outcome.answer else "", outcome.calls)
    label = label_from(outcome.read, node, source, outcome.answer.text, calls=outcome.calls)
    certain = name_confidence(outcome.answer.tokens, label.name)
    return replace(label, confidence=NOT_KNOWN if certain is None else certain)


def place(parts: PartTree, node: int, labels: dict[int, NodeLabel]) -> str:
    """Where a part stands, in words: in what, and which of how many."""
    if node == parts.root:
        return "This is the whole object."
    parent = int(parts.parents[node])
    beside = parts.children(parent)
    whole = f"the “{labels[parent].name}”" if is_named(labels[parent]) else "the part in the question before, which has no name"
    which = f"number {beside.index(node) + 1} of its {len(beside)} parts" if len(beside) > 1 else "its only part"
    return f"This is a part of {whole}: {which}."


def shape(parts: PartTree, node: int) -> str:
    """How many parts lie in a part, in words."""
    inside = parts.holds[node].sum() - 1
    if inside == 0:
        return "It has no parts of its own."
    own, levels = len(parts.children(node)), int(parts.depth[parts.holds[node]].max() - parts.depth[node])
    of_own = f"It has {own} part{'s' if own > 1 else ''} of its own"
    return f"{of_own}." if inside == own else f"{of_own}, and {inside} with all that lie inside, on {levels} levels."


def prompt(name: str) -> str:
    """The text of one of the evaluation's own prompts."""
    return (PROMPTS / name).read_text(encoding="utf-8")
