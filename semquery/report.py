"""The report: the part tree with what every part is called and why, as one HTML page.

The page needs no network and no other file: style, script and pictures are inside it. It is made of
`page/`: a skeleton, a style sheet and scripts, which a browser fills from the facts embedded as JSON.

Text from models and scenes is never markup. It travels as JSON in which no character can end the element
around it, is shown as text, and the page's policy lets no script and no style run but its own, told by hash.
"""

import base64
import hashlib
import html
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semquery.export import part_colors
from semquery.prompts import fill
from semquery.types import NodeLabel, PartTree

_FOLDER = Path(__file__).parent / "page"
_SCRIPTS = ("parts.js", "find.js", "edits.js", "viewer.js", "start.js")  # in this order: later ones use earlier ones
_SMALLER = (1.0, 0.75, 0.5, 0.36, 0.25, 0.18)  # sides tried, until all pictures fit
_THUMB = 104  # side of the pictures in the tree, pixels: twice the size they are shown at
_LONGEST_RAW = 4000  # letters shown of an answer that could not be read


@dataclass(frozen=True)
class ReportConfig:
    """How much the page carries."""

    unsure: float = 0.6
    """Confidence below which a name is shown as unsure, to begin with; the page has a slider for it."""
    side: int = 448
    """Longest side of the embedded pictures, pixels; made smaller where they would not fit."""
    megabytes: float = 10.0
    """Most room for pictures in the page; thumbnails come on top of it, about 3 kB a part."""

    def __post_init__(self) -> None:
        if not 0 <= self.unsure <= 1:
            raise ValueError(f"The report's unsure is {self.unsure:g}; expected a confidence within 0..1.")
        if self.side < 32:
            raise ValueError(f"The report's side is {self.side}; expected pictures of at least 32 pixels.")
        if not 0 < self.megabytes < math.inf:
            raise ValueError(f"The report's megabytes are {self.megabytes:g}; expected some room for pictures, a number above 0.")


@dataclass(frozen=True)
class Heading:
    """What the page says of the run as a whole."""

    title: str
    identity: str  # of the part tree: edits kept by a browser belong to it alone, as its part numbers do
    model: str = ""
    made: str = ""  # when the names were given
    calls: int = 0
    seconds_per_call: float = 0.0  # median; 0 = not known
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    view: str = ""  # the command that shows the run in 3D; "" = none is told


Pictures = Mapping[int, Sequence[bytes]]  # part → the PNGs the model saw of it


def report_page(
    heading: Heading,
    parts: PartTree,
    labels: Mapping[int, NodeLabel],
    pictures: Pictures,
    levels: bytes | None = None,
    config: ReportConfig = ReportConfig(),
) -> str:
    """The whole page. `levels` is a picture (PNG) of the levels of the tree."""
    shown = embedded(pictures, reading_order(parts), config)
    thumbs = {part: data_url(pngs[-1], _THUMB) for part, pngs in pictures.items() if pngs}  # the last is the closest look
    facts = {
        "run": {name: _plain(value) for name, value in asdict(heading).items()},
        "unsure": config.unsure,
        "levels": data_url(levels, 1600) if levels else "",
        "parts": part_records(parts, labels, shown, thumbs),
    }
    script = "\n".join(_page(name) for name in _SCRIPTS)
    return fill(_page("page.html"), title=html.escape(f"{_unbroken(heading.title)}: part names"), policy=policy(script, _page("page.css")),
                style=_page("page.css"), facts=json_in_html(facts), script=script)


def policy(script: str, style: str) -> str:
    """A content security policy: nothing from anywhere but this script, this style and pictures inside the page."""
    return (f"default-src 'none'; script-src '{_fingerprint(script)}'; style-src '{_fingerprint(style)}'; "
            "img-src data:; base-uri 'none'; form-action 'none'")


def json_in_html(record: Any) -> str:
    """JSON that can stand inside <script>: ASCII, and without the characters that open or close markup."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def reading_order(parts: PartTree) -> list[int]:
    """Parents before their parts, larger parts before smaller ones."""
    return sorted(range(parts.num_parts), key=lambda p: (int(parts.depth[p]), -int(parts.num_points[p]), p))


def part_records(
    parts: PartTree, labels: Mapping[int, NodeLabel], shown: Mapping[int, Sequence[str]], thumbs: Mapping[int, str]
) -> list[dict[str, Any]]:
    """One record per part, in reading order."""
    colors = part_colors(parts.num_parts)
    return [
        {"part": p, "parent": None if p == parts.root else int(parts.parents[p]), "depth": int(parts.depth[p]), "points": int(parts.num_points[p]),
         "color": "#{:02x}{:02x}{:02x}".format(*colors[p]), "pictures": list(shown.get(p, ())), "thumb": thumbs.get(p, ""),
         **label_record(labels.get(p))}
        for p in reading_order(parts)
    ]


def label_record(label: NodeLabel | None) -> dict[str, Any]:
    """What is told of a name; a part without a label is waiting for one."""
    if label is None:
        return {**label_record(NodeLabel(-1, "", confidence=0.0)), "status": "waiting"}
    record = {name: _plain(value) for name, value in asdict(label).items() if name != "part"}
    failed = record.setdefault("status", "named") == "failed"
    return {"reason": "", "parent_suspect": False, "calls": 0, **record, "raw": label.raw[:_LONGEST_RAW] if failed else ""}


def embedded(pictures: Pictures, order: Iterable[int], config: ReportConfig) -> dict[int, list[str]]:
    """Pictures as data URLs, as large as fits into the room for them; at the smallest, what does not fit is left out."""
    order, room, found = list(order), config.megabytes * 1e6, {}
    for factor in _SMALLER:
        found, complete = _embedded_at(pictures, order, max(16, round(config.side * factor)), room)
        if complete:
            break
    return found


def _embedded_at(pictures: Pictures, order: Sequence[int], side: int, room: float) -> tuple[dict[int, list[str]], bool]:
    """Pictures of one side until the room is used up, and whether all of them fitted."""
    found: dict[int, list[str]] = {}
    for part in order:
        for picture in pictures.get(part, ()):
            url = data_url(picture, side)
            room -= len(url)
            if room < 0:
                return found, False
            found.setdefault(part, []).append(url)
    return found, True


def data_url(picture: bytes, side: int) -> str:
    """An image no larger than `side`, as a URL that holds it."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _plain(value: Any) -> Any:
    """A value for JSON: JSON has no NaN and no infinity."""
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return 0.0 if isinstance(value, float) and not math.isfinite(value) else value


def _unbroken(text: str) -> str:
    """Without halves of characters, which no file can hold."""
    return text.encode(errors="replace").decode()


def _page(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _fingerprint(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
