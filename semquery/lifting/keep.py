"""Which answers are worth lifting: regions of a very low score, or of an area that nothing meant has, are left out.

The paper says "very low confidence or area" and names no numbers (MLLM-For3D, section 3); these are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from semquery.segmenter import Region


@dataclass(frozen=True)
class KeepConfig:
    """Which regions of a view are left out."""

    min_score: float = 0.3
    """Regions that their segmenter scores lower are left out."""
    min_area: float = 2e-4
    """Regions of a smaller share of the picture are left out…"""
    max_area: float = 0.95
    """…and those of a larger one."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min-score is {self.min_score}; expected a number from 0 to 1.")
        if not 0 <= self.min_area < self.max_area <= 1:
            raise ValueError(f"min-area is {self.min_area} and max-area {self.max_area}; expected 0 ≤ min-area < max-area ≤ 1.")


@dataclass(frozen=True)
class Dropped:
    """A view, or one of its regions, that does not count."""

    view: str
    why: str


def keep(
    answers: Mapping[str, Sequence[Region]], config: KeepConfig = KeepConfig()
) -> tuple[dict[str, tuple[Region, ...]], tuple[Dropped, ...]]:
    """The regions that count, and what was left out and why. A view that answered nothing stays, with nothing; one of whose answers
    none is left does not: what it would have said is not known."""
    kept: dict[str, tuple[Region, ...]] = {}
    dropped: list[Dropped] = []
    for view, regions in answers.items():
        reasons = [why_not(region, config) for region in regions]
        dropped += [Dropped(view, why) for why in reasons if why] or ([] if regions else [Dropped(view, "nothing is seen there")])
        good = tuple(region for region, why in zip(regions, reasons, strict=True) if not why)
        kept |= {view: good} if good or not regions else {}
    return kept, tuple(dropped)


def why_not(region: Region, config: KeepConfig) -> str:
    """Why a region does not count; empty where it does."""
    area = float(region.mask.mean())
    if area == 0:
        return "the region is empty"
    if region.score < config.min_score:
        return f"its score {region.score:.2f} is below {config.min_score:g}"
    if not config.min_area <= area <= config.max_area:
        return f"it covers {100 * area:.3g} % of the picture, and {100 * config.min_area:g} to {100 * config.max_area:g} % count"
    return ""
