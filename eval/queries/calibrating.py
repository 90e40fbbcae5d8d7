"""Fitting how likely it is that a scene has what is asked for, from written queries whose answer is known.

What is fitted to is what the searcher matches: the head of the query, so "the handle of the left drawer" is the text
"handle". Absent queries that name a part which is there, but not in that place or number ("the fourth drawer"), are no
example of an absent head and are left out. Only the half for tuning is looked at. There are fewer absent queries than
present ones; they are counted several times, so that the probability is that of one who asks for either as often. Queries
that are the very name or synonym of a part count in that, and not in the fit: they need no probability. Parts carry names,
synonyms and functions, as labelled parts do.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from eval.queries.known import Known
from eval.queries.measure import encoder_of, labels_of
from semquery.codebook import build_codebook
from semquery.phrases import is_plain, parse
from semquery.prompts import bank, negatives
from semquery.query import Match, Searcher
from semquery.query.calibrate import Calibration, fit


def examples(
    scenes: Sequence[Known], encoder_name: str, descriptions: Mapping, half: str
) -> tuple[Float64[np.ndarray, " q"], Bool[np.ndarray, " q"], Bool[np.ndarray, " q"]]:
    """Of every query of a half its nearness, whether the scene has what it asks for, and whether something is called exactly so."""
    encoder, rows = encoder_of(encoder_name), []
    for known in scenes:
        labels = labels_of(known, "described", descriptions)
        searcher = Searcher(known.parts, labels, build_codebook(labels, encoder, negatives(), bank()), encoder)
        for query in known.queries.queries:
            head = head_of(query.text, query.kind == "absent")
            match = matched(searcher, head) if query.half == half and head else None
            if match is not None:
                rows.append((match.nearness, query.kind != "absent", bool(match.exact.any())))
    nearness, present, exact = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(nearness, np.float64), np.array(present, bool), np.array(exact, bool)


def head_of(text: str, absent: bool) -> str:
    """What a query calls the part it asks for; "" where that says nothing of whether the scene has it."""
    phrase = parse(text)
    named = phrase.order is None and not (phrase.pick or phrase.relations or phrase.exclude)
    return phrase.head if named or is_plain(phrase) or not absent else ""


def matched(searcher: Searcher, head: str) -> Match | None:
    """None for words that the encoder does not know."""
    try:
        return searcher.match(head)
    except ValueError:
        return None


def calibrate(scenes: Sequence[Known], encoder_name: str, descriptions: Mapping) -> Calibration:
    """The coefficients that the tuning half gives."""
    return fit(*balanced(*examples(scenes, encoder_name, descriptions, "tuning")))


def balanced(
    nearness: Float64[np.ndarray, " q"], present: Bool[np.ndarray, " q"], exact: Bool[np.ndarray, " q"]
) -> tuple[Float64[np.ndarray, " w"], Bool[np.ndarray, " w"]]:
    """The absent queries repeated until there are about as many of them as present ones; exact ones count, and are then left out."""
    times = np.where(present, 1, max(1, round(present.sum() / max((~present).sum(), 1)))) * ~exact
    return np.repeat(nearness, times), np.repeat(present, times)
