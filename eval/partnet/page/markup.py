"""Pieces of a page: text, numbers, tables and pictures as HTML.

Conventions
  A `Html` is markup that may stand in a page as it is. Every other string is text from elsewhere (names of parts, answers of
  models, paths) and passes `text` on its way into one: it is never markup, and its writing direction ends with it.
"""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import NewType

from eval.partnet.page.results import Value

Html = NewType("Html", str)
NOTHING = "–"
MANY_COLUMNS = 8


def text(words: object) -> Html:
    """Any text as text: nothing in it is markup, and halves of characters, which no file can hold, are replaced."""
    return Html(html.escape(str(words).encode(errors="replace").decode()))


def name(words: object) -> Html:
    """A name from elsewhere, in whatever script: its direction does not reach what stands around it."""
    return Html(f"<bdi>{text(words)}</bdi>")


def joined(pieces: Sequence[Html], between: str = "\n") -> Html:
    return Html(between.join(pieces))


def number(value: float, digits: int = 3) -> Html:
    """0.571, or a dash where there is none."""
    return text(NOTHING if not math.isfinite(value) else f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−"))  # no −0.000


def with_interval(value: Value, digits: int = 3) -> Html:
    """0.571 and behind it, smaller, its interval."""
    middle, low, high = value
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(middle, digits)
    return Html(f"{number(middle, digits)} <small>{number(low, digits)}…{number(high, digits)}</small>")


def counted(number: int, one: str, many: str = "") -> str:
    """1 object, 2 objects, 1 query, 2 queries (where `many` says so)."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def table(head: Sequence[str], rows: Sequence[Sequence[Html]], caption: str = "", prose: bool = False) -> Html:
    """A table whose first column names its rows; it scrolls by itself where the screen is narrow. Nothing without rows.

    Where it has many columns, intervals stand below their numbers. Cells of a table of `prose` may break their lines.
    """
    if not rows:
        return Html("")
    first = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "\n".join(f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows)
    told = f"<caption><span>{text(caption)}</span></caption>" if caption else ""
    kind = "prose" if prose else "dense" if len(head) > MANY_COLUMNS else ""
    return Html(f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption or head[0])}"><table class="{kind}">{told}'
                f"<thead><tr>{first}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>")


def section(title: str, *pieces: Html, id: str = "") -> Html:
    """A titled piece of the page; nothing where all its pieces are empty."""
    inside = joined([piece for piece in pieces if piece])
    return Html(f'<section id="{text(id or title.lower().replace(" ", "-"))}"><h2>{text(title)}</h2>\n{inside}</section>' if inside else "")


def folded(title: str, *pieces: Html, open: bool = False) -> Html:
    """A piece that is opened and closed by a click; nothing where all its pieces are empty."""
    inside = joined([piece for piece in pieces if piece])
    return Html(f"<details{' open' if open else ''}><summary>{text(title)}</summary>\n{inside}</details>" if inside else "")


def paragraph(words: str) -> Html:
    return Html(f"<p>{text(words)}</p>")


def chart(svg: str, alt: str, caption: str = "") -> Html:
    """A drawing, inside the page as a picture: whatever is in it cannot run."""
    told = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return Html(f'<figure class="chart">{image(svg.encode(), "image/svg+xml", alt)}{told}</figure>')


def image(data: bytes, kind: str, alt: str) -> Html:
    """A picture inside the page."""
    return Html(f'<img src="data:{kind};base64,{base64.b64encode(data).decode()}" alt="{text(alt)}" decoding="async">')


def facts(pairs: Mapping[str, object]) -> Html:
    """Large numbers, each with what it counts."""
    inside = "".join(f"<div><dt>{text(key)}</dt><dd>{text(value)}</dd></div>" for key, value in pairs.items())
    return Html(f'<dl class="facts">{inside}</dl>')


def nested(value: object) -> Html:
    """A setting of any depth as lists of names and values."""
    if isinstance(value, Mapping) and value:
        lines = [f"<b>{text(key)}</b> {nested(inner)}" for key, inner in value.items()]
    elif isinstance(value, (list, tuple)) and any(isinstance(inner, (Mapping, list, tuple)) for inner in value):
        lines = [nested(inner) for inner in value]
    elif isinstance(value, (list, tuple, Mapping)):
        return text(", ".join(map(str, value)) or NOTHING)
    else:
        return text(NOTHING if value is None else value)
    return Html("<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>")
