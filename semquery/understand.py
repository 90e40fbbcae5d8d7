"""Queries that the rules cannot take apart, taken apart by a language model.

What the model says is used only if it is whole: every field of its kind, every head made of the query's own words. Nothing
is searched for that was not asked for; where there is any doubt, the rules' reading stands.
"""

import re
from collections.abc import Mapping
from typing import Any

from semquery.labelling import Asker
from semquery.labelling.asking import ask
from semquery.labelling.parse import json_objects, one_line, without_thoughts
from semquery.labelling.schema import bounded, record
from semquery.phrases import KINDS, PICKS, SIDES, SIZES, Order, Phrase, Relation, parse, singular
from semquery.prompts import fill, template
from semquery.query.matching import checked
from semquery.vlm import Request, Turn

SETTLED = 2  # words of a head that needs no model: most names have no more
MAX_DEPTH, MOST_NUMBER, MAX_TOKENS, REPAIRS = 3, 99, 500, 1
LONGEST_HEAD = 200  # letters


def understood(text: str, asker: Asker) -> Phrase:
    """The phrase that a query says. The model is asked only where the rules leave more than a name of two words.

    Raises ValueError for a text that is no query, and (Unreachable) for a model that does not answer at all.
    """
    by_rules = parse(checked(text))
    if is_settled(by_rules):
        return by_rules
    outcome = ask(asker, request_for(text), lambda answer: phrase_in(answer, text), REPAIRS)
    if outcome.read is None:
        asker.check_reached()
        return by_rules
    return outcome.read


def is_settled(phrase: Phrase) -> bool:
    """Whether every head in a phrase is short enough to be a name."""
    inner = [*(each for relation in phrase.relations for each in relation.of), *phrase.exclude, *phrase.also]
    return len(phrase.head.split()) <= SETTLED and all(map(is_settled, inner))


def request_for(text: str) -> Request:
    system = fill(template("parse_query.md"), along=", ".join([*SIDES, *SIZES]), picks=", ".join(PICKS), kinds=", ".join(KINDS))
    turns = (Turn("system", system), Turn("user", f"The query is: “{one_line(text)}”"))
    return Request(turns, None, phrase_schema(), MAX_TOKENS)


def phrase_schema(depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The form of an answer; phrases nest so deep, because servers that enforce schemas know no recursion."""
    inner = {} if depth == 1 else {
        "relations": _list(record(kind={"type": "string", "enum": list(KINDS)}, of=_list(phrase_schema(depth - 1), 4)), 4),
        **{name: _list(phrase_schema(depth - 1) if depth == MAX_DEPTH else phrase_schema(1), 4) for name in ("exclude", "also")},
    }
    return record(
        head=bounded(LONGEST_HEAD), number={"type": "integer", "minimum": 0, "maximum": MOST_NUMBER},
        rank={"type": "integer", "minimum": -MOST_NUMBER, "maximum": MOST_NUMBER}, along={"type": "string", "enum": ["", *SIDES, *SIZES]},
        pick={"type": "string", "enum": ["", *PICKS]}, **inner)


def _list(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "maxItems": most, "items": items}


def phrase_in(answer: str, query: str) -> Phrase | None:
    """The phrase that an answer holds; None where something in it is not as it should be, or says what the query does not."""
    objects = list(json_objects(without_thoughts(answer, lambda found: "head" in found)))
    try:
        return _phrase(objects[-1], query, _words(query), MAX_DEPTH, query.strip())
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _phrase(said: Any, query: str, words: frozenset[str], depth: int, text: str = "") -> Phrase:
    """Raises ValueError, KeyError or TypeError for what is no phrase."""
    head, number = one_line(_is(said["head"], str)), _is(said.get("number", 1), int)
    _demand(depth > 0 and len(head) <= LONGEST_HEAD and _words(head) <= words and bool(head) == bool(_words(head)) and 0 <= number <= MOST_NUMBER)
    rank, along, pick = _is(said.get("rank", 0), int), _is(said.get("along", ""), str), _is(said.get("pick", ""), str)
    _demand(abs(rank) <= MOST_NUMBER and along in ("", *SIDES, *SIZES) and all(each in PICKS for each in pick.split()))
    relations = tuple(_relation(each, query, words, depth) for each in _is(said.get("relations", []), list))
    exclude, also = (tuple(_phrase(each, query, words, depth - 1) for each in _is(said.get(name, []), list)) for name in ("exclude", "also"))
    _demand(bool(head or rank or pick or relations or exclude))
    return Phrase(head, number or None, Order(rank, along) if rank else None, pick, relations, exclude, also, text or head)


def _relation(said: Mapping[str, Any], query: str, words: frozenset[str], depth: int) -> Relation:
    anchors = tuple(_phrase(each, query, words, depth - 1) for each in _is(said["of"], list))
    _demand(said["kind"] in KINDS and len(anchors) >= 1)
    return Relation(said["kind"], anchors)


def _is(value: Any, kind: type) -> Any:
    """The value, if it is of that kind (a truth value is no number)."""
    _demand(isinstance(value, kind) and not isinstance(value, bool))
    return value


def _demand(fine: bool) -> None:
    if not fine:
        raise ValueError


def _words(text: str) -> frozenset[str]:
    """Its words in lower case and in the singular."""
    return frozenset(singular(word) for word in re.findall(r"[\w'-]+", text.lower()))
