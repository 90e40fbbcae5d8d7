"""What a part is asked with: instructions, the pictures and answers of its ancestors, its own pictures and question.

The conversation grows only at its end: a parent's conversation and its answer are a strict beginning of each of its
children's, so whoever keeps a cache of prompt beginnings computes a part once. (With fewer ancestors it is none.)

Two styles. `default` is ours. `paper` is the published method's: pictures blacked out but for the part, thinking and
label as marked text. It departs in one point: there each picture is said to be a subsection of the one before, which in
a depth-first walk is false after a sibling; here it is a subsection of its parent's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semquery.facts import PartFacts
from semquery.labelling.answers import is_named, said
from semquery.labelling.config import LabelConfig
from semquery.labelling.schema import NODE_SCHEMA
from semquery.portraits import IN_WORDS
from semquery.prompts import fill, template
from semquery.types import NodeLabel, PartTree
from semquery.vlm import Request, Turn

# (part, names of its ancestors from the top) → names it may have, likeliest first
Candidates = Callable[[int, Sequence[str]], Sequence[str]]
MOST_CANDIDATES = 40


def no_candidates(part: int, ancestors: Sequence[str]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Subject:
    """What is to be named."""

    parts: PartTree
    facts: Mapping[int, PartFacts]
    pictures: Callable[[int], tuple[bytes, ...]]  # part → PNGs, the same at every call
    pixels: Mapping[int, int]  # part → most pixels that any view shows of it; decides who speaks for look-alikes
    candidates: Candidates = no_candidates
    reduced: Callable[[bytes], bytes] = bytes  # a smaller copy of a PNG, for questions that show many
    marking: str = IN_WORDS["outlined"]  # how the pictures mark the part, in words


def question(subject: Subject, part: int, labels: Mapping[int, NodeLabel], config: LabelConfig) -> Turn:
    """The last turn of a part's conversation."""
    place = _place(subject.parts, part, labels, config)
    images = subject.pictures(part)
    if config.style == "paper":
        return Turn("user", fill(template("paper_part.md"), place=place), images)
    offered = list(subject.candidates(part, [labels[a].name for a in _ancestors(subject.parts, part, "all")]))[:MOST_CANDIDATES]
    candidates = f"It may be one of these, or something else: {', '.join(offered)}.\n" if offered else ""
    return Turn("user", fill(template("label_part.md"), place=place, facts=subject.facts[part].in_words(), candidates=candidates), images)


def conversation(
    subject: Subject, part: int, questions: Mapping[int, Turn], labels: Mapping[int, NodeLabel], config: LabelConfig
) -> tuple[Turn, ...]:
    """All turns up to and with the part's question."""
    paper = config.style == "paper"
    turns = [Turn("system", template("paper_system.md") if paper else fill(template("label_system.md"), marking=subject.marking))]
    for ancestor in _ancestors(subject.parts, part, config.ancestors):
        turns += [questions[ancestor], Turn("assistant", _answer(labels[ancestor], config))]
    return (*turns, questions[part])


def after_answer(
    subject: Subject, part: int, questions: Mapping[int, Turn], labels: Mapping[int, NodeLabel], config: LabelConfig, last: Turn
) -> tuple[Turn, ...]:
    """A part's conversation, its answer, and one more question about it."""
    return (*conversation(subject, part, questions, labels, config), Turn("assistant", _answer(labels[part], config)), last)


def request_for(turns: tuple[Turn, ...], facts: PartFacts | None, config: LabelConfig, schema: Mapping[str, Any] = NODE_SCHEMA) -> Request:
    return Request(turns, facts, None if config.style == "paper" else schema, config.max_tokens)


def _answer(label: NodeLabel, config: LabelConfig) -> str:
    text = said(label)
    return f"**Label**: {label.name}" if config.style == "paper" and text.startswith('{"name"') else text


def _ancestors(parts: PartTree, part: int, which: str) -> list[int]:
    """From the root down to the parent."""
    if part == parts.root or which == "none":
        return []
    path = [parts.root, *parts.path(part)][:-1]
    return path[-1:] if which == "parent" else path


def _place(parts: PartTree, part: int, labels: Mapping[int, NodeLabel], config: LabelConfig) -> str:
    if part == parts.root:
        return "This is the whole scene."
    if config.ancestors == "none":
        return "This is one part of a scene."
    parent = labels[int(parts.parents[part])]
    siblings = len(parts.children(parent.part))
    has = f"which has {siblings} parts" if siblings > 1 else "its only part"
    if not is_named(parent):
        return f"This is a part of the part shown in the question before, which is not named, {has}."
    return f"This is a part of the “{parent.name}”{_or_else(parent, config)}, {has}."


def _or_else(label: NodeLabel, config: LabelConfig) -> str:
    """What else a part of uncertain name may be, in brackets."""
    if not config.carry_alternatives or label.confidence >= config.unsure or label.source == "user" or not label.alternatives:
        return ""
    likeliest = sorted(label.alternatives, key=lambda a: -a[1])[:3]
    return f" (not certain: it may be {' or '.join(f'a “{name}” (p = {score:.2g})' for name, score in likeliest)})"
