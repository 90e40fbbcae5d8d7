"""How sure a name is: from its own tokens, from agreement, or said to be unknown; never from what the model claims."""

import json
import math

import numpy as np
import pytest
from labelling_helpers import PLAIN, Known, label_all, node

from semquery.labelling.confidence import NOT_KNOWN, UNKNOWN_REASON, agreement, name_confidence, name_span
from semquery.vlm import Answer


def slow_confidence(tokens, span):
    """Letter by letter: the tokens that hold any letter of the span."""
    owner = [k for k, (text, _) in enumerate(tokens) for _ in text]
    used = sorted({owner[i] for i in range(*span)})
    return float(np.exp(np.mean([tokens[k][1] for k in used])))


def test_by_hand_the_mean_over_the_names_tokens():
    tokens = (('{"name": "', -3.0), ("oven", math.log(0.5)), (" do", math.log(0.9)), ("or", math.log(0.9)), ('", "x', -5.0))
    assert name_confidence(tokens, "oven door") == pytest.approx((0.5 * 0.9 * 0.9) ** (1 / 3))


@pytest.mark.parametrize("seed", range(20))
def test_it_equals_the_letter_by_letter_twin_however_the_text_is_cut(seed):
    random = np.random.default_rng(seed)
    text = json.dumps({"thinking": "an oven door? yes, the oven door", "name": "oven door", "alternatives": [{"name": "oven", "score": 0.5}]})
    cuts = sorted({0, len(text), *random.integers(0, len(text), 25).tolist()})
    tokens = tuple((text[a:b], float(-random.random())) for a, b in zip(cuts, cuts[1:]))
    start = text.index('"name": "oven door"') + len('"name": "')
    assert name_confidence(tokens, "oven door") == pytest.approx(slow_confidence(tokens, (start, start + 9)))


@pytest.mark.parametrize(("text", "name", "start"), [
    ('{"name": "door", "alternatives": [{"name": "door"}]}', "door", 10), ("a door. **Label**: door", "door", 19), ("Label: lid\nLabel: door", "door", 18),
    ('<think>"name": "door"</think>{"name": "door"}', "door", 39), ('{"label": ["door"]}', "door", 12), ("just a door", "door", 7),
    ('{"name": "t\\u00fcr"}', "tür", 10), ('{"name": "tür"}', "tür", 10),
])
def test_the_name_is_located_where_it_is_given(text, name, start):
    assert name_span(text, name)[0] == start


def test_without_tokens_or_without_the_name_among_them_nothing_is_known():
    assert name_confidence((), "door") is None and name_confidence((("lid", -0.1),), "door") is None
    assert name_confidence((("door", float("-inf")),), "door") == 0.0


def test_agreement_counts_names_and_synonyms_this_answer_included():
    assert agreement("the Door", ("oven-flap",), ["door", "Oven flap", "lid", ""]) == 3 / 5
    assert agreement("door", (), []) == 1.0


def test_what_the_model_says_of_itself_is_not_read():
    labels, _, _ = label_all(Known(answer=lambda r, p: node("door", confidence=0.99)))
    assert {(label.confidence, label.reason) for label in labels.values()} == {(NOT_KNOWN, UNKNOWN_REASON)}


def test_token_probabilities_become_the_labels_confidence():
    class Telling(Known):
        def __call__(self, request):
            text = super().__call__(request).text
            return Answer(text, tuple((c, math.log(0.7)) for c in text))

    labels, _, _ = label_all(Telling(), config=PLAIN)
    assert all(label.confidence == pytest.approx(0.7) and not label.reason for label in labels.values())


def test_further_samples_are_different_requests_and_their_agreement_counts():
    from dataclasses import replace

    sampled = ["left knob", "dial", "dial", "left knob"]

    class Wavering(Known):
        def text(self, request):
            return super().text(request) if request.temperature == 0 else node(sampled[round((request.temperature - 0.7) * 1000) - 1])

    vlm = Wavering()
    labels, answers, asker = label_all(vlm, config=replace(PLAIN, agreement=4))
    assert labels[0].confidence == 3 / 5 and labels[0].calls == 5 and labels[2].confidence == 1 / 5
    assert asker.calls == 25 == len(answers) and label_all(Wavering(), answers, config=replace(PLAIN, agreement=4))[2].calls == 0
