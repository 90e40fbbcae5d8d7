"""Queries to hits: what is said, where it stands, and how many are meant.

A name or a description goes to the best of what is said of the parts. A phrase that counts, compares, relates or excludes
is resolved on the tree and in space, its nouns each looked up as a query of their own. A part that is called exactly like
the whole phrase wins over taking the phrase apart ("bottom panel").
A searcher is not changed by asking, but for a bounded memory of recent queries; any number of threads may ask at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from semquery.export import path_names
from semquery.phrases import Phrase, is_plain, parse, without_articles
from semquery.query.config import QueryConfig
from semquery.query.exact import canonical
from semquery.query.matching import Match, Matcher, checked
from semquery.query.reading import Reader
from semquery.query.select import Group, group_of, grouped, is_but, near_the_best, outermost, repeated
from semquery.relations import Places
from semquery.resolve import LINES, Resolution, resolve
from semquery.spans import Spans
from semquery.text import PictureEncoder, TextEncoder
from semquery.types import Codebook, Hit, NodeLabel, PartTree

MISSPELLED = 0.75  # difflib's likeness of two texts from which one may be the other with a slip
REMEMBERED = 64  # queries whose match is kept
NAMED = 4  # names that are said of parts that answer together
STEP = 0.05  # from what has the name to what has it for a synonym, and to what is of the kind: a start button, where others are “button”


class Searcher:
    """A codebook ready to be asked."""

    def __init__(
        self, parts: PartTree, labels: Mapping[int, NodeLabel], book: Codebook, encoder: TextEncoder, config: QueryConfig = QueryConfig(),
        picture_encoder: PictureEncoder | None = None, laid: Spans | None = None,
    ) -> None:
        """`laid`: the tree laid out, where it is at hand. Raises ValueError for a codebook that other encoders have made."""
        self.parts, self.labels, self.book, self.config = parts, dict(labels), book, config
        self.matcher = Matcher(book, parts.num_parts, encoder, config, picture_encoder)
        self.laid, self._depth = laid or Spans(parts), parts.depth
        self._matched = lru_cache(REMEMBERED)(self.matcher.match)
        entries = self.matcher.entries
        self._reader = Reader(entries.of_kind, lambda text: bool(self.candidates(text)), entries.is_numbered, self.laid)

    # ------------------------------------------------------------------ one text

    def match(self, text: str) -> Match:
        """How well every part fits. Raises ValueError for a query that says nothing."""
        return self._matched(checked(text))

    def candidates(self, text: str) -> list[tuple[int, float]]:
        """Every part that is called so, best first: none inside another, repeated ones each; none where nothing is called so.

        Where names say that parts are of the kind, those are meant and nothing that only comes near: with 1 those that are called
        exactly so, the others a `STEP` or two behind. Else each has its lead as a share of the best one's, which tells better names
        from worse where scores are all but 1.
        """
        match = self._known(text)  # a word of a longer phrase may say nothing by itself
        if match is None:
            return []
        if (kind := self.matcher.entries.of_kind(text)).any():
            return self._of_kind(kind, match)
        found = sorted((member for group in self.groups(match) for member in group.members), key=lambda p: -match.lead[p])
        best = match.lead[found[0]] if found else 0.0
        return [(part, float(match.lead[part] / best) if best > 0 else 1.0) for part in found]

    def inside(self, text: str, part: int) -> list[int]:
        """The parts in a part that are of the kind a text names, the highest of them."""
        inner = self._highest_inside(part, self.matcher.entries.of_kind(text))
        return inner if len(inner) != 1 else self.inside(text, inner[0]) or inner

    def _highest_inside(self, part: int, kind: Bool[np.ndarray, " p"]) -> list[int]:
        inner = self.laid.inside(part)[1:]
        return self.laid.highest(inner[kind[inner]].tolist())

    def _of_kind(self, kind: Bool[np.ndarray, " p"], match: Match) -> list[tuple[int, float]]:
        """The exact ones and those beside them, the highest of nested ones; one that is nothing but several of its kind, as these."""
        named = match.exact & (match.lead >= match.lead.max() - self.config.same)
        found: dict[int, float] = {}
        held, holds_one = np.zeros(len(kind), bool), np.zeros(len(kind), bool)  # held: by place in the preorder
        for tier in (kind & named, kind & match.exact & ~named, kind & ~match.exact):
            score = min(found.values()) - STEP if found else 1.0
            for top in self.laid.highest(np.flatnonzero(tier & ~held[self.laid.first] & ~holds_one).tolist()):
                found |= dict.fromkeys(self._repeated(top, kind), score)
                held[self.laid.first[top] : self.laid.last[top]] = True
                holds_one[self.laid.above(top)] = True
        return sorted(found.items(), key=lambda item: (-item[1], -match.lead[item[0]]))

    def _repeated(self, part: int, kind: Bool[np.ndarray, " p"]) -> list[int]:
        """The part, or several of its kind where it is nothing but these, or but a part that is."""
        inner = self._highest_inside(part, kind)
        if not inner or not is_but(part, inner, self.laid):
            return [part]
        deeper = self._repeated(inner[0], kind) if len(inner) == 1 else inner
        return deeper if len(deeper) > 1 else [part]

    def closest(self, text: str) -> tuple[str, float]:
        """What of all that is said is nearest to the query, and how likely it is that this is meant."""
        match = self.match(text)
        part = int(match.lead.argmax())
        return self._said(match, part), match.probability

    def closest_in_words(self, text: str) -> str:
        """What comes closest to a text that finds nothing, how likely that is meant, and the name that it may be a misspelling of."""
        nearest, chance = self.closest(text)
        meant = get_close_matches(canonical(text), set(self.matcher.entries.canonical), 1, MISSPELLED)
        least = f", and at least {100 * self.config.threshold:.3g} % is asked for" if chance >= 0.5 else ""
        likely = min(round(100 * chance), 99)
        return f"closest is “{nearest}”, {likely} % likely to be meant{least}." + (f" Did you mean “{meant[0]}”?" if meant else "")

    def groups(self, match: Match) -> list[Group]:
        """The answers before the cut to `top`, best first."""
        if match.probability < self.config.threshold:
            return []
        hits, same = near_the_best(match.lead, self.config.near_best), self.config.same
        is_hit = np.zeros(len(match.lead), bool)
        is_hit[hits] = True
        chosen = outermost(hits, match.lead, self._depth, self.laid, same)

        def called(part: int) -> str:
            return self.matcher.entries.called(int(match.entry[part])) if match.entry[part] >= 0 else f"part {part}"

        members = [repeated(part, is_hit, called, match.lead, self.laid, same) for part in chosen]
        return grouped(chosen, members, called, match.lead, self.laid, same)

    # ------------------------------------------------------------------ a query

    def find(self, text: str, places: Places | None = None, phrase: Phrase | None = None) -> list[Hit]:
        """The parts that answer, best first; none where the scene does not have what is asked for (`resolution` and `closest` say more).

        `phrase`: the query as it was understood, by default by the rules. Raises ValueError for a query that says nothing,
        and for one about places where none are given. Extents are left at 0 for who has the points.
        """
        understood = self.understood(text, phrase)
        if is_plain(understood) or self.is_a_name(text):
            match = self.match(understood.head if self.is_a_name(understood.head) and not self.is_a_name(text) else text)
            return [self._hit(group, match) for group in self.groups(match)[: self.config.top]]
        return self._compound(understood, places)

    def understood(self, text: str, phrase: Phrase | None = None) -> Phrase:
        """The query taken apart, by the rules or as it is given, with its nouns read as the names that are here."""
        return self._reader.read(parse(checked(text)) if phrase is None else phrase)

    def resolution(self, phrase: Phrase, places: Places) -> Resolution:
        """The parts that a phrase means, with every step, or why there is no answer."""
        return resolve(self._reader.read(phrase), self.candidates, places, self.parts, self.is_a_name, self.inside)

    def probability(self, phrase: Phrase) -> float:
        """How likely the scene is to have all that a phrase speaks of: its least likely part; words that say nothing do not count."""
        return min((self._is_there(text, match) for text in heads(self._reader.read(phrase)) if (match := self._known(text))), default=1.0)

    def is_a_name(self, text: str) -> bool:
        """Whether a part is called exactly so, however the text could be taken apart."""
        length = len(without_articles(text.casefold()).split())  # “the thing on the table” says more than “table”
        rows = self.matcher.entries.rows_called(text)
        return any(len(without_articles(self.book.texts[row]).split()) == length for row in rows) and bool(self.match(text).exact.any())

    def _is_there(self, text: str, match: Match) -> float:
        """A kind of what is asked for is as surely there as what is called exactly so."""
        return 1.0 if self.matcher.entries.of_kind(text).any() else match.probability

    def _compound(self, phrase: Phrase, places: Places | None) -> list[Hit]:
        if places is None and not is_plain(replace(phrase, number=1)):
            raise ValueError(f"“{phrase}” asks where parts are or which of several is meant; give the places of the parts.")
        found = self._counted(phrase) if places is None else self.resolution(phrase, places)
        if found.failed or not found.members:
            return []
        probability = self.probability(phrase)
        together: dict[str, list[int]] = {}  # what is named is one answer of one or more parts; of any parts, those of one name are
        for part in found.members:
            together.setdefault("" if phrase.head or phrase.number != 1 else canonical(self._name(part)), []).append(part)
        return [self._resolved(members, found, phrase, probability) for members in list(together.values())[: self.config.top]]

    def _counted(self, phrase: Phrase) -> Resolution:
        """“The legs”, “two knobs”: what takes no places, only a number."""
        wanted = self.candidates(phrase.head)[: phrase.number]
        members, scores = tuple(part for part, _ in wanted), tuple(score for _, score in wanted)
        only = f" “{phrase}” asks for {phrase.number}." if phrase.number and len(members) < phrase.number else ""
        return Resolution(members, scores, steps=(f"{'Only ' if only else ''}{len(members)} parts are called “{phrase.head}”.{only}",))

    # ------------------------------------------------------------------ hits

    def _hit(self, group: Group, match: Match) -> Hit:
        best = max((group.part, *group.members), key=lambda p: match.lead[p])  # the first of equals: a part before its members
        entry, thinking = int(match.entry[best]), self.labels[best].thinking if best in self.labels else ""
        how = "is what was asked for" if match.exact[best] else "is closest to the query"
        why = f"its {self.book.fields[entry]} “{self._said(match, best)}” {how}." if entry >= 0 else "its picture is closest to the query."
        several = f"{len(group.members)} parts are called so: {why}" if len(group.members) > 1 else why
        scorer = "exact" if match.exact[best] else self.matcher.scorer
        return self._of(group, float(match.score[best]), self._said(match, best), f"{several} {thinking}".strip(), match.probability, scorer)

    def _resolved(self, members: Sequence[int], found: Resolution, phrase: Phrase, probability: float) -> Hit:
        """Members that answer together; scored as what the phrase calls them, or as resolved where it calls them nothing."""
        share = dict(zip(found.members, found.scores, strict=True))
        tops = self.laid.highest(members) if not phrase.also else list(members)
        best = max(tops, key=lambda p: share.get(p, 0.0))
        group = Group(best, (best,)) if len(tops) < 2 else Group(best, tuple(sorted(tops))) if phrase.also else group_of(tops, best, self.laid)
        match = self._known(phrase.head)
        score, exact = (float(match.score[best]), bool(match.exact[best])) if match and match.score[best] else (share[best], False)
        hit = self._of(group, score, self._name(best), " ".join(found.steps), probability, "exact" if exact else self.matcher.scorer)
        return self._jointly(hit) if phrase.also or not phrase.head else hit

    def _jointly(self, hit: Hit) -> Hit:
        """Parts of several names that answer together, under all the names and the path of what holds them."""
        names = list(dict.fromkeys(self._name(part) for part in hit.members))
        if len(names) < 2:
            return hit
        called = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        around = self.laid.common(hit.members)
        above = path_names(self.parts, self.labels, around) if around != self.parts.root else ()
        return replace(hit, path=(*above, called), matched=called)

    def _known(self, text: str) -> Match | None:
        """The match of a text, None where it says nothing."""
        try:
            return self.match(text)
        except ValueError:
            return None

    def _of(self, group: Group, score: float, matched: str, reason: str, probability: float, scorer: str) -> Hit:
        num_points, path = len(self.laid.points_of(*group.members)), path_names(self.parts, self.labels, group.part)
        reason = reason if num_points else f"{reason} It has no surface point, so where it is cannot be shown.".strip()
        return Hit(group.part, score, path, matched, reason, num_points, (0.0, 0.0, 0.0), group.members, probability, scorer)

    def _name(self, part: int) -> str:
        return self.labels[part].name if part in self.labels else f"part {part}"

    def _said(self, match: Match, part: int) -> str:
        return self.book.texts[self.book.text_of_entry[match.entry[part]]] if match.entry[part] >= 0 else ""


def heads(phrase: Phrase) -> Iterator[str]:
    """What a phrase takes to be there: its own head and those of the parts it is related to; a row of parts is none itself."""
    if phrase.head and phrase.head not in LINES:
        yield phrase.head
    for other in (*phrase.also, *(anchor for relation in phrase.relations if relation.kind != "without" for anchor in relation.of)):
        yield from heads(other)
