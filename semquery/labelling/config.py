"""How the parts are named: every choice that changes names, and those that only change how fast."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

REPAIR_TEMPERATURE = 0.7  # of the last try and of further samples: at zero the same answer would come again


@dataclass(frozen=True)
class LabelConfig:
    """What is asked, and what is done against errors that would travel down the tree."""

    style: Literal["default", "paper"] = "default"
    """default: outlined pictures, JSON answers; paper: black-masked crops and Thinking/Label text as in the published method, no passes."""
    ancestors: Literal["all", "parent", "none"] = "all"
    """Whose pictures and answers precede a part's own: all its ancestors' (a prefix cache makes this the cheapest), its parent's, none."""
    carry_alternatives: bool = True
    """Tell a part what else its parent may be, where the parent's name is not certain."""
    reconsider: bool = True
    """Ask once more for a part that half of its own parts do not fit; if its name changes, name what is inside it again."""
    siblings: bool = True
    """Look once at all parts of a part together: different parts get different names, repeats the same; one call a parent."""
    copy_alike: bool = True
    """Of neighbours of like colour, shape and size ask for the one seen best, and give the others its name."""
    candidates: Path | None = None
    """JSON file of names to offer: a list, or {kind of object: [names]}; ontology_partnet.json is shipped. They may be rejected."""
    candidates_clip: str = ""
    """Offer only the likeliest of these names, by a CLIP or SigLIP checkpoint (folder, or name of one in the hub's cache) that looks
    at the part's close-up."""
    agreement: int = 0
    """Where the model gives no log-probabilities: this many further samples a part, whose agreement is the confidence."""
    unsure: float = 0.6
    """Confidence below which a name counts as uncertain."""
    repairs: int = 2
    """Further tries when an answer cannot be read; after these the part has no name, and its own parts are asked all the same."""
    max_tokens: int = 400
    """Longest answer, tokens."""

    def __post_init__(self) -> None:
        if self.repairs < 0 or self.agreement < 0 or self.max_tokens < 1 or not 0 <= self.unsure <= 1:
            given = f"{self.repairs}, {self.agreement}, {self.max_tokens} and {self.unsure:g}"
            raise ValueError(f"Expected --repairs ≥ 0, --agreement ≥ 0, --max-tokens ≥ 1 and --unsure within 0..1; got {given}.")

    @property
    def passes(self) -> "LabelConfig":
        """The configuration with the switches that apply: the published method has none of the passes."""
        return self.without_passes if self.style == "paper" else self

    @property
    def without_passes(self) -> "LabelConfig":
        return replace(self, carry_alternatives=False, reconsider=False, siblings=False, copy_alike=False)
