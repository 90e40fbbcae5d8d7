"""How a question is put to a model: what is shown, how often, and with what chance."""

from dataclasses import dataclass
from typing import Literal

_SHARES = ("drop_anchors", "add_anchors")
_LEAST = {"rows": 1, "rounds": 0, "overviews": 0, "closeups": 0, "relevant": 1, "side": 64, "agreement": 0, "repairs": 0, "max_tokens": 1}


@dataclass(frozen=True)
class AskConfig:
    """How a question is put to a model."""

    stages: Literal[1, 2] = 2
    """2: first which parts matter, then, shown these more closely, which of them is meant; 1: at once, from the table and the overview."""
    rows: int = 120
    """Most rows of the table of parts. Of a larger scene the likelier branches are listed, and the model may have others opened."""
    rounds: int = 2
    """How often the model may have branches opened."""
    overviews: int = 3
    """Most pictures of the whole scene."""
    closeups: int = 8
    """Most parts that the second question shows from close by; candidates come before anchors."""
    relevant: int = 16
    """Most parts that are taken from the first answer into the second question."""
    side: int = 640
    """Longer side of a picture of the scene, pixels."""
    drop_anchors: float = 0.0
    """Chance of each anchor to be left out of the second question: how much does the answer hang on it?"""
    add_anchors: float = 0.0
    """Chance, for each anchor that was found (and for one more), that a part without meaning for the question joins them."""
    seed: int = 0
    """Of this chance."""
    agreement: int = 0
    """Where the model gives no log-probabilities: so many further samples of the last answer, whose agreement tells how sure it is."""
    repairs: int = 2
    """Further tries when an answer cannot be read."""
    max_tokens: int = 800
    """Longest answer, tokens."""

    def __post_init__(self) -> None:
        few = [f"{name.replace('_', ' ')} {getattr(self, name)} (at least {least})" for name, least in _LEAST.items() if getattr(self, name) < least]
        far = [f"{name.replace('_', ' ')} {getattr(self, name):g} (0 to 1)" for name in _SHARES if not 0 <= getattr(self, name) <= 1]
        if few or far:
            raise ValueError(f"A question cannot be asked with {', '.join(few + far)}.")
