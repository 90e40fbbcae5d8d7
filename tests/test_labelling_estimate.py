"""What naming would cost: counted on the real walk, equal to the formulas, and to what is then asked."""

import io
from dataclasses import replace

import numpy as np
import pytest
from helpers import random_parts, small_facts
from labelling_helpers import PLAIN, Known, label_all, small_subject
from PIL import Image

from semquery.labelling import Asker, LabelConfig, label_parts
from semquery.labelling.estimate import (
    ASSUMED_SECONDS,
    Counting,
    duration,
    estimate,
    image_tokens,
    text_tokens,
    turn_tokens,
)
from semquery.vlm import Turn


def png(width: int, height: int, value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def count(subject, config=PLAIN, answers=None):
    counting = Counting("Known")
    asker = Asker(counting, answers or {}, lambda *_: None)
    label_parts(subject, asker, config)
    return counting, asker


def tree(seed: int, num_parts: int = 20):
    parts = random_parts(np.random.default_rng(seed), num_parts, 50)
    facts = {p: replace(small_facts()[0], extent=(1.0 + p, 1.0, 1.0)) for p in range(num_parts)}
    drawn = [(png(448, 448, p), png(448, 224, p)) for p in range(num_parts)]
    return small_subject(parts=parts, facts=facts, pictures=lambda part: drawn[part])


def test_pictures_are_counted_by_their_size():
    assert image_tokens(png(448, 448)) == 256 and image_tokens(png(448, 224)) == 128 and image_tokens(png(5, 5)) == 1
    assert image_tokens(b"no picture") == 256 and text_tokens("12345") == 2 and turn_tokens(Turn("user", "1234", (png(28, 28),))) == 4 + 1 + 1


def slow_counts(requests, answer):
    """Sent and new by comparing every request with all earlier conversations, turn by turn."""
    sent = new = 0
    for k, request in enumerate(requests):
        tokens = [turn_tokens(t) for t in request.turns]
        shared = 0
        for earlier in requests[:k]:
            full = (*earlier.turns, Turn("assistant", answer(earlier)))
            same = next((i for i, (a, b) in enumerate(zip(full, request.turns)) if a != b), min(len(full), len(request.turns)))
            shared = max(shared, same)
        sent, new = sent + sum(tokens), new + sum(tokens[shared:])
    return sent, new


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ancestors", ["all", "parent", "none"])
def test_counts_equal_the_turn_by_turn_twin(seed, ancestors):
    from semquery.labelling.estimate import _ordinary

    subject, config = tree(seed, 12), replace(PLAIN, ancestors=ancestors)
    requests = _requests(subject, config)
    counting, _ = count(subject, config)
    assert (counting.sent, counting.new) == slow_counts(requests, _ordinary) and counting.calls == len(requests)


def _requests(subject, config):
    """What is asked, in order (pictures do not tell the part here)."""
    seen = []

    class Noting(Counting):
        def __call__(self, request):
            seen.append(request)
            return super().__call__(request)

    label_parts(subject, Asker(Noting("Known"), {}, lambda *_: None), config)
    return seen


@pytest.mark.parametrize("seed", range(3))
def test_with_whole_paths_the_new_tokens_are_the_instructions_once_and_each_parts_own(seed):
    subject = tree(seed)
    requests = _requests(subject, PLAIN)
    own = sum(turn_tokens(r.turns[-1]) for r in requests)
    counting, _ = count(subject)
    assert counting.new == turn_tokens(requests[0].turns[0]) + own  # S + Σ (I + T)
    answer = 4 + counting.answered // counting.calls
    depth = subject.parts.depth
    by_part = {r.turns[-1].images: turn_tokens(r.turns[-1]) for r in requests}
    question = [by_part[subject.pictures(p)] for p in range(20)]
    paths = sum(sum(question[a] for a in range(20) if subject.parts.holds[a, p]) + depth[p] * answer for p in range(20))
    assert counting.sent == pytest.approx(20 * turn_tokens(requests[0].turns[0]) + paths, rel=0.02)


def test_a_window_of_ancestors_sends_less_and_computes_more():
    subject = tree(1, 30)
    whole, window = count(subject)[0], count(subject, replace(PLAIN, ancestors="parent"))[0]
    assert window.sent < whole.sent and window.new > whole.new


def test_the_dry_run_counts_exactly_the_calls_that_are_then_made():
    for config in (PLAIN, LabelConfig(), LabelConfig(style="paper")):
        counting, _ = count(small_subject(), config)
        paper = config.style == "paper"
        vlm = Known(answer=(lambda r, p: "Label: x") if paper else None)
        assert counting.calls == label_all(vlm, config=config)[2].calls


def test_what_is_recorded_is_not_counted_again():
    _, answers, _ = label_all(Known())
    counting, asker = count(small_subject(), answers=answers)
    assert (counting.calls, counting.sent, asker.cached) == (0, 0, 5)


def test_by_hand_time_and_price():
    subject = small_subject()
    counting = Counting("x", calls=40, sent=1_000_000, new=300_000, answered=100_000)
    assumed = estimate(subject.parts, counting, 0, 4, None, None)
    assert assumed.seconds == 10 * ASSUMED_SECONDS and not assumed.measured and assumed.price is None
    measured = estimate(subject.parts, counting, 2, 400, 5.0, (2.0, 10.0))
    assert measured.seconds == 15.0 and measured.measured and measured.price == pytest.approx(3.0)  # three levels follow each other
    told = "\n".join(measured.lines())
    for words in ("5 in 3 levels", "40, and 2 answers that are recorded", "1000000 sent, 300000 new with a prefix cache (30 %)", "15 s", "price           3 without"):
        assert words in told
    assert "no call was made yet" in "\n".join(assumed.lines())
    assert [duration(s) for s in (7.0, 75.0, 7320.0)] == ["7 s", "1 min 15 s", "2 h 2 min"]
