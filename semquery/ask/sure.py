"""How sure an answer is: the probability of the tokens that name its targets, else the agreement of further samples.

What a model says of itself is not asked for: such numbers are not calibrated.
"""

import math
import re
from collections.abc import Collection, Sequence

from semquery.labelling.confidence import Tokens

_TARGETS = re.compile(r'"targets"\s*:\s*\[([^\]]*)\]?', re.I)


def targets_probability(tokens: Tokens) -> float | None:
    """exp of the mean log-probability of the tokens within the last list of targets; of an empty list, of the tokens that say so.

    None where there are no tokens, or no such list.
    """
    text = "".join(token for token, _ in tokens)
    found = list(_TARGETS.finditer(text, max(text.rfind("</think>"), 0)))
    if not found:
        return None
    numbers = list(re.finditer(r"\d+", found[-1][1]))
    begin = found[-1].start(1)
    spans = [(begin + n.start(), begin + n.end()) for n in numbers] or [(begin - 1, found[-1].end())]
    inside, at = [], 0
    for token, log_probability in tokens:
        if any(at < end and at + len(token) > start for start, end in spans):
            inside.append(log_probability)
        at += len(token)
    mean = sum(inside) / len(inside)
    return min(1.0, math.exp(mean)) if math.isfinite(mean) else 0.0


def agreement(targets: Collection[int], samples: Sequence[Collection[int] | None]) -> float:
    """Share of all answers, this one included, that name the same parts; one that could not be read names none of them."""
    same = sum(sample is not None and set(sample) == set(targets) for sample in samples)
    return (1 + same) / (1 + len(samples))
