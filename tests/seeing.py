"""Stand-ins for a model with eyes: they read nothing but the pictures they are sent, and know parts by their colours."""

import io
import json
import re
from dataclasses import dataclass, field

import numpy as np
from painted import INK, Painted
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, label

from semquery.pictures import OUTLINE
from semquery.vlm import Answer, Request

NEAR = 24  # of each channel, by which a colour may be off and still be known
LEAST = 0.015  # share of what is marked that a colour covers to be seen


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def outlined_region(image: np.ndarray) -> np.ndarray:
    """What a red line encloses: everything that is reached from its inner side, the one without the white line."""
    line = (image == OUTLINE).all(-1)
    if not line.any():
        return np.zeros(line.shape, bool)
    white = (image >= 250).all(-1)
    beside = binary_dilation(line) & ~line & ~white
    pieces, _ = label(~line & ~white)
    return np.isin(pieces, np.unique(pieces[beside])[np.unique(pieces[beside]) > 0])


def lit_region(image: np.ndarray) -> np.ndarray:
    """What is not blacked out."""
    return (image > 10).any(-1)


def colors_in(image: np.ndarray, region: np.ndarray, palette: np.ndarray) -> list[int]:
    """The rows of a palette that cover more than a sliver of a region."""
    core = binary_erosion(region, iterations=3)
    core = core if core.sum() > 60 else region
    off = np.abs(image[core][:, None] - palette[None]).max(-1)
    known = off.argmin(1)[off.min(1) <= NEAR]
    counts = np.bincount(known, minlength=len(palette))
    return np.flatnonzero(counts > LEAST * core.sum()).tolist()


@dataclass
class Oracle:
    """Names a part by the colours inside its mark, if the pictures that came before show what it is a part of, in order."""

    world: Painted
    source: str = "vlm"
    identity: str = "Oracle"
    asked: list[Request] = field(default_factory=list)
    known: dict[bytes, int | None] = field(default_factory=dict)

    def check(self) -> str:
        return "knows every colour"

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        if kind(request) == "SIBLINGS":
            return Answer(json.dumps({"thinking": "", "renamed": []}))
        seen = [self.part_in(turn.images) for turn in request.turns if turn.role == "user" and turn.images]
        name = self.world.names[seen[-1]] if self.leads_to(seen) else "unknown"
        plain = request.schema is None
        text = f"**Thinking**: its colours\n**Label**: {name}" if plain else json.dumps({"thinking": "its colours", "name": name})
        return Answer(text, tokens=((text, 0.0),))

    def part_in(self, images: tuple[bytes, ...]) -> int | None:
        """The smallest part that has all colours marked in the pictures; None where they disagree or show nothing."""
        found = {self.smallest(png) for png in images}
        return found.pop() if len(found) == 1 else None

    def smallest(self, png: bytes) -> int | None:
        if png not in self.known:  # ancestors' pictures come again and again
            self.known[png] = self._smallest(opened(png))
        return self.known[png]

    def _smallest(self, image: np.ndarray) -> int | None:
        palette = np.array([self.world.color(leaf) for leaf in range(self.world.scene.num_leaves)])
        region = lit_region(image) if self.is_blackened(image) else outlined_region(image)
        colors = set(colors_in(image, region, palette)) if region.any() else set()
        holding = [p for p in range(self.world.parts.num_parts) if colors and colors <= self.world.leaves(p)]
        return min(holding, key=lambda p: len(self.world.leaves(p)), default=None)

    @staticmethod
    def is_blackened(image: np.ndarray) -> bool:
        return not (image == OUTLINE).all(-1).any()

    def leads_to(self, seen: list[int | None]) -> bool:
        """Whether the pictures go from the root down to the last, parent by parent."""
        parents = self.world.scene.parents
        below = zip(seen[:-1], seen[1:], strict=True)
        return None not in seen and seen[0] == len(parents) - 1 and all(int(parents[child]) == parent for parent, child in below)


@dataclass
class Gullible(Oracle):
    """Does what writing says where one part bears it; everywhere else it is the oracle, by its name too."""

    bearer: str = ""
    obeys: str = ""
    obeyed: int = 0

    def __call__(self, request: Request) -> Answer:
        answer, images = super().__call__(request), request.turns[-1].images
        is_bearer = kind(request) == "PART" and self.part_in(images) == self.world.names.index(self.bearer)
        if not is_bearer or not all(map(self.can_read, images)):
            return answer
        self.obeyed += 1
        return Answer(self.obeys, tokens=answer.tokens)

    @staticmethod
    def can_read(png: bytes) -> bool:
        image = opened(png)
        region = outlined_region(image)
        ink = (np.abs(image - INK).max(-1) <= NEAR) & region
        return bool(ink.sum() > 0.01 * region.sum() > 0)


def kind(request: Request) -> str:
    return "SIBLINGS" if request.schema is not None and "renamed" in request.schema["properties"] else "PART"


def outside_quotes(text: str) -> str:
    """A text without what stands between quotation marks."""
    return re.sub(r"“[^”]*”", "“”", text)
