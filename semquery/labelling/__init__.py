"""Naming the parts of a tree with a vision-language model.

`label_parts` is the whole of it: a depth-first walk in which each part is seen in the context of its ancestors
(`walk`, `context`), answers that are read tolerantly, mended and remembered (`parse`, `asking`), and second looks against
errors that would travel down the tree (`passes`). What was answered is never asked again.
"""

from collections.abc import Callable, Collection, Mapping

from semquery.labelling.answers import label_from, labels_by_hand
from semquery.labelling.asking import Asker, OutOfCalls, Unreachable
from semquery.labelling.config import LabelConfig
from semquery.labelling.context import Candidates, Subject
from semquery.labelling.ontology import all_names, by_looks, candidates_from, candidates_of
from semquery.labelling.parse import parse_answer
from semquery.labelling.passes import reconsider, siblings
from semquery.labelling.schema import NODE_SCHEMA
from semquery.labelling.walk import Walk, depth_first
from semquery.types import NodeLabel

__all__ = [
    "NODE_SCHEMA", "Asker", "Candidates", "LabelConfig", "OutOfCalls", "Subject", "Unreachable", "Walk", "all_names", "by_looks", "candidates_from", "candidates_of", "depth_first",
    "label_from", "label_parts", "labels_by_hand", "parse_answer",
]


def label_parts(
    subject: Subject,
    asker: Asker,
    config: LabelConfig = LabelConfig(),
    given: Mapping[int, NodeLabel] | None = None,
    on_label: Callable[[NodeLabel, str], None] = lambda label, key: None,
    fresh: Collection[int] = (),
    workers: int = 1,
) -> dict[int, NodeLabel]:
    """The label of every part: the walk, then the second looks that are switched on (a rule has nothing to look at twice).

    Raises OutOfCalls, Unreachable, KeyboardInterrupt; answers recorded until then are found again at the next call.
    """
    config = config.passes if asker.vlm.source != "rule" else config.without_passes
    walk = Walk(subject, asker, config, given or {}, on_label, fresh, workers)
    walk.run()
    asker.check_reached()
    if config.reconsider:
        reconsider(walk)
    if config.siblings:
        siblings(walk)
    return walk.labels
