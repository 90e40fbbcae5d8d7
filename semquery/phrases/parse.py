"""The rules that turn a query into a phrase.

A relation binds to what stands right before it, so "handle of the drawer below the shelf" is the handle of (the drawer
below the shelf). A clause ("that starts it", "you press", "to hold") before the first relation makes the whole a
description. Time is linear in the length of the text: phrases nest at most MAX_DEPTH deep, what is deeper stays text.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from semquery.phrases.lexicon import ANY, CLAUSES, DETERMINERS, MEASURES, NUMBERS, ORDINALS, PLACES, SUPERLATIVES, is_plural, singular
from semquery.phrases.noun import noun, without_articles
from semquery.phrases.record import Phrase, Relation, is_plain
from semquery.phrases.tokens import Token, tokens

MAX_DEPTH = 6
_POLITE = re.compile(
    "(?:please|hey|hi|hello|ok|okay|now|well|so|and|then|robot|(?:can|could|would|will) you(?: please)?|can i see|let me see|help me|"
    "i(?: am|'m) (?:looking|searching) for|i (?:want|need|would like|'d like)(?: to (?:see|find))?|"
    "(?:show|give|get|bring|find|tell)(?: me| us)?|(?:point|look|go)(?: me)? (?:out|at|to|for)|search for|"
    "highlight|select|locate|segment|mark|identify|pick out|single out|outline|where can i find|where(?:'s| is| are)|"
    "(?:is|are) there(?: any)?|do you see(?: any)?|do we have|there (?:is|are))(?!\\S) ?"
)
_ASKED = re.compile("(?:(?:which|what)(?:'s|'re| is| are)|which|what(?= \\S+ (?:is|are) ))(?!\\S) ?")
_CHOICE = re.compile(f" (?:that|which) (is|are) (?=(?:the )?(?:{'|'.join([*ORDINALS, *SUPERLATIVES])})(?!\\S))")
_TAIL = re.compile(" (?:please|for me|to me|in (?:the|this) (?:scene|picture|image|photo|room))$")
_NOT = re.compile("(?:but not|not|no|all but|anything but|except|except for)(?: (?:the|a|an|any))?(?!\\S) ")
_ACT = re.compile("(?:press|push|grab|grasp|take|pick up|touch|pull|turn|open|close|use) (?=(?:the|a|an|this|that|these|those|all|both) )")


def parse(text: str) -> Phrase:
    """The phrase that a text says. Never fails: what no rule understands is a description."""
    tidy = _tidy(text)
    polite = _polite(tidy)
    body = _CHOICE.sub(r" \1 ", _ASKED.sub("", polite, count=1) if _ASKED.match(polite) else polite)
    body = _NOT.sub("everything but the ", body, count=1) if _NOT.match(body) else body
    phrase = _phrase(tokens(body), len(body) < len(polite))
    if _ACT.match(body) and not is_plain(acted := _phrase(tokens(_ACT.sub("", body, count=1)))):
        phrase = acted
    if is_plain(phrase) and (not phrase.head or CLAUSES & set(phrase.head.split())):
        phrase = Phrase(without_articles(polite) or text.strip())  # as it was asked: "what is used to …"
    return replace(phrase, text=text.strip())


def _tidy(text: str) -> str:
    """Lower case, single spaces, one kind of apostrophe, no punctuation but hyphens, apostrophes and decimal points."""
    text = re.sub("[’‘ʼ`´]", "'", text.lower())
    text = re.sub(r"^\s*(?:the )?(?:(?:#|number |no\.? |nr\.? )([0-9]+)|([0-9]+)\.) (.+)$", r"\3 \1\2", text)  # “2. slat”
    text = re.sub(r"(?<!\w)'|(?<!s)'(?!\w)|[!?;:,\"“”„«»()\[\]{}…]|\.(?!\d)", " ", text)
    text = " ".join(text.split())
    text = re.sub(r"(?<=\S) (?:#|no |nr |number )([0-9]+)$", r" \1", text)
    text = re.sub(r"\b(second|third)[- ](?:to[- ])?last\b", r"\1-last", re.sub(r"\b(?:last but one|next[- ]to[- ]last)\b", "second-last", text))
    text = re.sub(r"(?<!\S)(top|upper|bottom|lower|front|back|rear|far)-(left|right)(?!\S)", r"\1 \2", text)
    text = re.sub(r"(?<!\S)(left|right|top|bottom|front|rear|back|upper|lower)[- ]most(?!\S)", r"\1most", text)
    return re.sub(r"(?<!\S)(left|right)[- ]hand(?!\S)", r"\1", text)


def _polite(text: str) -> str:
    """Without the words that only ask for something to be shown."""
    for _ in range(6):
        match = _POLITE.match(text)
        if not match or match.end() == len(text):
            break
        text = text[match.end() :]
    for _ in range(3):
        text = _TAIL.sub("", text)
    where = re.fullmatch("where (.+) (?:is|are)", text)
    return where[1] if where else text


def _phrase(found: list[Token], asked: bool = False, depth: int = 0, elliptic: bool = False) -> Phrase:
    """The phrase of tokens. `asked`: a question word stood before them; `elliptic`: they may go without a head ("the second")."""
    text = _text(found)
    cut = next((k for k, token in enumerate(found) if token.kind == "exclude"), len(found))
    main, excluded = _of_measures(found[:cut]), found[cut + 1 :]
    if asked and len(main) > 1 and main[0].text == "of":  # "which of the buttons is the largest"
        return replace(_which_of(found, depth), text=text)
    start = next((k for k, token in enumerate(main) if token.kind == "relation"), len(main))
    if depth > MAX_DEPTH or not _is_understood(main, start, asked) or (cut < len(found) and not excluded):
        return Phrase(without_articles(text), text=text)
    if cut == len(found) and (joined := _both(found, depth)):
        return replace(joined, text=text)
    before, after = _with_count(main[:start], main[start:])
    owners, before = _owner(before, depth)
    phrase = _of_line(_joined(noun(before), before, after, depth))
    exclude = tuple(_excluded(excluded, phrase.head, depth))
    phrase = replace(phrase, relations=owners + phrase.relations, exclude=exclude, text=text)
    if phrase.head in ANY and not is_plain(phrase):
        return replace(phrase, head="")
    said = phrase.head or phrase.relations or exclude or elliptic or any(token.kind != "word" for token in before)
    return phrase if said else Phrase(without_articles(text), text=text)


def _both(found: list[Token], depth: int) -> Phrase | None:
    """Of "the handle and the knob", or "or", the one and beside it the other; "salt and pepper" is a name."""
    stops = [k for k in range(1, len(found) - 1) if found[k].text in ("and", "or") and found[k + 1].text in DETERMINERS | {"all", "both"}]
    if not stops or any(token.kind != "word" for token in found):
        return None
    bounds = zip([-1, *stops], [*stops, len(found)], strict=True)
    phrases = [_phrase(found[start + 1 : stop], depth=depth + 1) for start, stop in bounds]
    return replace(phrases[0], also=tuple(phrases[1:])) if all(phrase.head for phrase in phrases) else None


def _text(found: list[Token]) -> str:
    return " ".join(token.text for token in found)


def _which_of(found: list[Token], depth: int) -> Phrase:
    """Of "of the buttons is the largest", the largest button; with "are", all that are so."""
    verb = next((k for k, token in enumerate(found) if token.value in ("is", "are")), len(found))
    phrase = _phrase([*(token for token in found[verb + 1 :] if token.value not in DETERMINERS), *found[1:verb]], depth=depth)
    if any(token.text.split()[0] == "are" for token in found):
        return phrase
    return replace(phrase, head=singular(phrase.head), number=1)


def _of_measures(found: list[Token]) -> list[Token]:
    """With every "of" that belongs to a name ("chest of drawers") as a word; a pair of what is not worn is two."""
    words = list(found)
    for k in range(1, len(found) - 1):
        bare = found[k + 1].kind == "word" and found[k + 1].value not in DETERMINERS and found[k + 1].value not in NUMBERS
        if found[k].text == "of" and found[k - 1].value in MEASURES and bare:
            words[k] = Token("word", "of", "of")
            if found[k - 1].value == "pair" and is_plural(found[k + 1].value):
                words[k - 1 : k + 1] = [Token("word", "the", "pair"), Token("word", "two", "of")]
    return words


def _is_understood(found: list[Token], start: int, asked: bool) -> bool:
    """Whether the rules may take it apart: no clause before the first relation, and something behind every relation."""
    if not found or any(token.value.removesuffix("'s") in CLAUSES for token in found[:start] if token.kind == "word"):
        return False
    if found[-1].kind == "relation" or found[-1].value in DETERMINERS:
        return False
    if asked and start < len(found) and found[start].text == "without" and found[start + 1].value not in DETERMINERS:
        return False  # "what runs without batteries"
    opens = start == 0 and not asked and not found[0].text.endswith(("est to", "est from"))
    return not opens or (found[0].text != "of" and found[1].value in DETERMINERS | set(NUMBERS) | set(PLACES) | {"all", "both", "each", "every"})


def _with_count(before: list[Token], after: list[Token]) -> tuple[list[Token], list[Token]]:
    """Of "the second drawer of the cabinet from the top", what is counted from with the ordinal."""
    if len(after) > 2 and after[-1].kind == "count" and noun(before).order and not any(token.kind == "count" for token in before):
        if not noun([token for token in after if token.kind == "word"]).order:
            return [*before, after[-1]], after[:-1]
    return before, after


def _owner(before: list[Token], depth: int) -> tuple[tuple[Relation, ...], list[Token]]:
    """Of "the left drawer's handle", a relation to the left drawer, and the tokens behind it."""
    owns = [k for k, token in enumerate(before[:-1]) if token.kind == "word" and re.search("(?<=.)'s$|s'$", token.value)]
    if not owns or not any(token.kind == "word" for token in before[owns[-1] + 1 :]):
        return (), before
    last = before[owns[-1]].value
    name = last[:-1] if last.endswith("s'") else last[:-2]
    owner = _phrase([*before[: owns[-1]], Token("word", name, name)], depth=depth + 1)
    return (Relation("part_of", (owner,)),), before[owns[-1] + 1 :]


def _joined(inner: Phrase, before: list[Token], after: list[Token], depth: int) -> Phrase:
    """The noun with its relations; of "the largest of the buttons" the noun is behind the "of"."""
    if not inner.head and before and after and after[0].text == "of" and all(token.kind == "word" for token in before):
        whole = _phrase(after[1:], depth=depth + 1)
        head = singular(whole.head) if inner.number == 1 else whole.head
        return replace(whole, head=head, number=inner.number, order=inner.order or whole.order, pick=inner.pick or whole.pick)
    return replace(inner, relations=tuple(_relations(after, depth)))


def _of_line(phrase: Phrase) -> Phrase:
    """Of "the bottom row of buttons", the buttons in it; a row without a place is a description."""
    line, _, kind = phrase.head.partition(" of ")
    if line not in ("row", "column", "line") or not (phrase.pick or phrase.order):
        return phrase
    where = Relation("inside", (Phrase(line, 1, phrase.order, phrase.pick, text=f"the {phrase.pick} {line}" if phrase.pick else f"that {line}"),))
    if kind:
        return Phrase(kind, None, relations=(where, *phrase.relations))
    first = phrase.relations[0] if phrase.relations else None
    if first is None or first.kind != "part_of" or first.of[0].number == 1:
        return phrase
    return replace(first.of[0], number=None, relations=(where, *first.of[0].relations, *phrase.relations[1:]))


def _relations(found: list[Token], depth: int) -> Iterator[Relation]:
    """The relations of one head: "above the dial and left of the display" is two."""
    starts = [k for k, token in enumerate(found) if token.kind == "relation" and (k == 0 or found[k - 1].value == "and")]
    stops = [*(k - 1 for k in starts[1:]), len(found)][: len(starts)]
    for start, stop in zip(starts, stops, strict=True):
        kind, anchor = found[start].value, found[start + 1 : stop]
        ends = _listed(anchor) if kind == "between" else [anchor]
        yield Relation(kind, tuple(_phrase(end, depth=depth + 1) for end in ends if end))


def _listed(found: list[Token]) -> list[list[Token]]:
    """The two ends of "the door and the window", or all of it where nothing parts it."""
    at = next((k for k, token in enumerate(found) if token.value in ("and", "&")), 0)
    return [found[:at], found[at + 1 :]] if 0 < at < len(found) - 1 else [found]


def _excluded(found: list[Token], head: str, depth: int) -> Iterator[Phrase]:
    """What is not meant; "the green one" and "the front ones" are of the kind that is asked for."""
    groups: list[list[Token]] = [[]]
    for token in found:
        if token.kind == "exclude" or token.value in ("and", "or", "nor"):
            groups.append([])
        else:
            groups[-1].append(token)
    for group in filter(None, groups):
        phrase = _phrase(group, depth=depth + 1, elliptic=True)
        last = phrase.head.rpartition(" ")[2]
        if last in ("one", "ones"):
            kind = singular(head) if last == "one" else head
            yield replace(phrase, head=phrase.head[: -len(last)] + kind, number=1 if last == "one" else None)
        elif phrase.head in PLACES and is_plain(phrase):  # "all but the top"
            yield replace(phrase, head=singular(head), pick=PLACES[phrase.head])
        else:
            yield replace(phrase, head=phrase.head or (singular(head) if phrase.number == 1 else head))
