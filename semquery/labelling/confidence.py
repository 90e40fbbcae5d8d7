"""How sure a name is.

Three sources, the first that speaks counts: the log-probabilities of the name's own tokens (their mean, as a
probability), the agreement of further samples, or nothing, which is said. A number that a model writes down about
itself is never used: such numbers are not calibrated, and thinking aloud does not mend them.
"""

import json
import math
import re
from collections.abc import Sequence

NOT_KNOWN = 0.5  # the confidence of a name about which nothing is known
UNKNOWN_REASON = "confidence is not known: the model gives no log-probabilities"

Tokens = Sequence[tuple[str, float]]  # (text, natural-log probability)


def name_confidence(tokens: Tokens, name: str) -> float | None:
    """exp of the mean log-probability of the tokens that spell the name; None when there are none or the name is not among them."""
    span = name_span("".join(text for text, _ in tokens), name)
    if span is None:
        return None
    found, at = [], 0
    for text, log_probability in tokens:
        if at < span[1] and at + len(text) > span[0]:
            found.append(log_probability)
        at += len(text)
    mean = sum(found) / len(found)
    return min(1.0, math.exp(mean)) if math.isfinite(mean) else 0.0


def name_span(text: str, name: str) -> tuple[int, int] | None:
    """Where in an answer the name is given: as the first "name" of its JSON, else on its last marked line, else where it stands last."""
    start = max(text.rfind("</think>"), 0)
    for spelled in dict.fromkeys((json.dumps(name, ensure_ascii=False)[1:-1], json.dumps(name)[1:-1], name)):
        word = re.escape(spelled)
        marks = [(rf'"(?:name|label)"\s*:\s*\[?\s*"\s*({word})', 0), (rf"(?:label|name|answer)\W*?[:：]\W*?({word})", -1), (rf"({word})", -1)]
        for pattern, which in marks:
            found = list(re.finditer(pattern, text[start:], re.I))
            if found:
                return start + found[which].start(1), start + found[which].end(1)
    return None


def agreement(name: str, synonyms: Sequence[str], samples: Sequence[str]) -> float:
    """Share of all answers, this one included, that call the part by this name or one of its synonyms."""
    same = {_plain(name), *(_plain(s) for s in synonyms)}
    return (1 + sum(_plain(sample) in same for sample in samples)) / (1 + len(samples))


def _plain(name: str) -> str:
    return " ".join(re.sub(r"\b(the|a|an)\b|[^\w]+", " ", name.lower()).split())
