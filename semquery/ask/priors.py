"""What is told of the relevant parts before the decision: R2S's visual priors, in pictures, words and numbers.

Of every part its place and size; of a candidate how it stands to the anchors, how well it fits the words of the question,
and which of the others look most like it, by the mean of its points' features.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from semquery.ask.record import Considered, Subject
from semquery.ask.table import named, numbers, quoted, where
from semquery.relations import HOLDS, distance, holds_relation

SAMPLE = 2000  # points of a part whose features stand for all
TELLING = ("part_of", "inside", "on", "above", "below", "left", "right", "front", "behind", "near")
IN_WORDS = {"part_of": "a part of", "left": "left of", "right": "right of", "front": "in front of"}
LONGEST_WHY = 160  # letters


def told(relevant: Sequence[Considered], lead: Float64[np.ndarray, " p"], subject: Subject) -> str:
    """One line a part, in the order given."""
    alike = look_alikes([each.part for each in relevant], subject)
    percent = fit(lead)
    anchors = [each.part for each in relevant if each.role == "anchor"]
    return "\n".join(_line(each, anchors, alike.get(each.part, ()), percent, subject) for each in relevant)


def _line(
    each: Considered, anchors: Sequence[int], alike: Sequence[tuple[int, float]], percent: Float64[np.ndarray, " p"] | None, subject: Subject
) -> str:
    middle, size = where(each.part, subject).split(" | ")
    notes = [f"{each.role}" + (f", because {quoted(each.why, LONGEST_WHY)}" if each.why else ""), f"middle {middle}, size {size}"]
    if each.role == "candidate":
        notes += [", ".join(relations(each.part, anchors, subject))] if anchors else []
        notes += [f"fits the words of the question better than {percent[each.part]:.0f} % of all parts"] if percent is not None else []
    notes += ["looks most like " + ", ".join(f"{part} ({cosine:.2f})" for part, cosine in alike)] if alike else []
    return f"- {each.part} {named(each.part, subject)}: {'; '.join(note for note in notes if note)}"


def relations(part: int, anchors: Sequence[int], subject: Subject) -> list[str]:
    """How a part stands to each anchor: every relation that holds, and how far away it is."""
    places, found = subject.places, []
    unit = max(float(places.size[subject.parts.root].max()), 1e-9) / 100
    for anchor in anchors:
        if anchor == part or not places.num_points[part] or not places.num_points[anchor]:
            continue
        kinds = [kind for kind in TELLING if holds_relation(kind, part, (anchor,), places) >= HOLDS]
        kinds = ["part_of"] if "part_of" in kinds else kinds
        words = [f"{IN_WORDS.get(kind, kind)} {anchor}" for kind in kinds]
        away = [] if "part_of" in kinds else [f"{numbers([distance(part, anchor, places) / unit])} away from {anchor}"]
        found += words + away
    return found


def fit(lead: Float64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"] | None:
    """The share of all parts that fit the words of the question less well than each part, in percent; None where all fit alike."""
    if not len(lead) or np.ptp(lead) < 1e-9:
        return None
    return 100 * np.searchsorted(np.sort(lead), lead, side="left") / len(lead)


def look_alikes(which: Sequence[int], subject: Subject, most: int = 2) -> dict[int, list[tuple[int, float]]]:
    """For each part, the others among them that look most like it, with the cosine; nothing where the surface has no features."""
    mean = pooled(which, subject)
    if mean is None or len(which) < 2:
        return {}
    cosine = (mean @ mean.T).astype(np.float64)
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, : min(most, len(which) - 1)]
    return {part: [(which[k], float(cosine[row, k])) for k in order[row]] for row, part in enumerate(which)}


def pooled(which: Sequence[int], subject: Subject) -> Float32[np.ndarray, "k c"] | None:
    """The mean feature of each part, unit length (zero for a part without points); None where the surface has none."""
    features = subject.surface.features
    if not features.shape[1]:
        return None
    rows = []
    for part in which:
        points = subject.laid.points_of(part)
        points = points[:: max(1, -(-len(points) // SAMPLE))]
        rows.append(features[points].astype(np.float32).sum(0))
    sums = np.stack(rows)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
