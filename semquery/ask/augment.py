"""Anchors left out and added at random, as R2S does in training: here to see whether an answer hangs on them."""

import random
from collections.abc import Sequence

from semquery.ask.config import AskConfig
from semquery.ask.record import Considered


def augmented(relevant: Sequence[Considered], others: Sequence[int], config: AskConfig) -> tuple[tuple[Considered, ...], tuple[str, ...]]:
    """The relevant parts after the dice, and what they did; candidates stay. `others`: parts without meaning for the question.

    The same parts and the same seed meet the same dice.
    """
    if not config.drop_anchors and not config.add_anchors:
        return tuple(relevant), ()
    dice = random.Random(f"{config.seed} {[each.part for each in relevant]}")
    anchors = [each for each in relevant if each.role == "anchor"]
    dropped = {each.part for each in anchors if dice.random() < config.drop_anchors}
    wanted = sum(dice.random() < config.add_anchors for _ in range(len(anchors) + 1))
    joined = dice.sample(sorted(others), min(wanted, len(others)))
    kept = [each for each in relevant if each.part not in dropped]
    steps = [f"Anchor {part} was left out at random." for part in sorted(dropped)] + [f"Part {part} joined the anchors at random." for part in joined]
    return (*kept, *(Considered(part, "anchor", "it may help to tell") for part in joined)), tuple(steps)
