"""What is compared: for every object, how relevant each of its nodes is to each query, by one method after the other.

    cot          the product's labeller: depth first, in the context of all ancestors
    flat         the same model, each part by itself
    whole-tree   all parts in one request
    text-only    the same model without any picture: its prior
    clip-crop    pictures of the parts compared with the query (the published baseline)
    hybrid       names of cot and pictures, mixed
    true-names   the right names, through the encoder: its ceiling
    oracle, retrieve-all, random   ceiling and floors of the measure itself
    simulated    names with known errors that are handed down with a known rate

A method is a function (shown, asked, backends) → Said. One that asks a model raises Unreachable (a ValueError) when the
model is away: the object is to be asked again, and what was answered is not asked twice.

    backends.py    what the methods work with; which of them can run; what was answered before
    asking.py      asking at a known cost        relevancy.py   from names and vectors to numbers
    subject.py     an object as the labeller takes it
    walked.py, at_once.py, in_words.py, pictured.py, floors.py   the methods
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from eval.partnet.config import MethodName
from eval.partnet.methods.at_once import whole_tree
from eval.partnet.methods.backends import Answers, Backends, backends_for, check, default_methods, refusals
from eval.partnet.methods.floors import chance, oracle, retrieve_all, simulated, true_names
from eval.partnet.methods.in_words import text_only
from eval.partnet.methods.pictured import clip_crop, hybrid
from eval.partnet.methods.relevancy import relevancy_of_labels, relevancy_of_vectors
from eval.partnet.methods.walked import cot, flat
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, Said
from semquery.labelling import Unreachable
from semquery.vlm import VlmError

__all__ = [
    "METHODS", "Answers", "Backends", "Method", "backends_for", "check", "default_methods", "refusals", "relevancy_of_labels",
    "relevancy_of_vectors", "say",
]

Method = Callable[[Shown, tuple[Asked, ...], Backends], Said]
METHODS: dict[MethodName, Method] = {  # in the order in which they run: hybrid takes the names of cot
    "cot": cot, "flat": flat, "whole-tree": whole_tree, "text-only": text_only, "clip-crop": clip_crop, "hybrid": hybrid,
    "true-names": true_names, "oracle": oracle, "retrieve-all": retrieve_all, "random": chance, "simulated": simulated,
}


def say(
    names: Sequence[MethodName], shown: Shown, asked: tuple[Asked, ...], backends: Backends, earlier: Mapping[str, Said] | None = None
) -> dict[MethodName, Said]:
    """What each of these methods says of an object; what is in `earlier` is taken from there, and not done again.

    Raises Unreachable when a model or a server of vectors is away, ValueError for what is wrong with this object or that model.
    """
    known: dict[str, Said] = dict(earlier or {})
    try:
        for name in [name for name in METHODS if name in names and name not in known]:
            known[name] = METHODS[name](shown, asked, replace(backends, earlier=known))
    except ValueError as error:  # an encoder's server says so in a ValueError of its own
        if isinstance(error.__cause__, VlmError) and error.__cause__.is_away:
            raise Unreachable(str(error)) from error.__cause__
        raise
    return {name: known[name] for name in names}
