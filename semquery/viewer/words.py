"""What the panel says: lines of menus, the card of the selection, the answer to a question.

Names, reasons and questions come from models and users and may hold anything. In a menu they are one line of plain text.
In a card they stand in MDX, which a page compiles to a program: there a text is an expression that holds a JavaScript
string of which all but letters, digits and a few marks are written as \\uXXXX. So no text is ever read as markup, as a
link, as an address of a picture or as code.

Notation
  A line is one line of plain text; markup is MDX. Parts are numbers of the tree.
"""

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from semquery.labelling.parse import one_line
from semquery.opened import Answered, Found
from semquery.types import NodeLabel
from semquery.viewer.loaded import Loaded
from semquery.vlm import OpenAiServer, Vlm

LONGEST_NAME = 40  # letters of a name in a path
LONGEST_LINE = 90  # letters of a path; of a longer one the end is kept
LONGEST_SENTENCE = 600
LONGEST_THOUGHT = 4000
LONGEST_OFFERED = 22  # letters of a path in a menu, which is narrow and cuts what is longer
MOST_LISTED = 8  # parts of a selection, other names, reasons
MOST_OFFERED = 400  # parts in the menu of the tree
SOURCES = {"vlm": "named by the model", "user": "named by hand", "rule": "named by measurement"}
HARMLESS = frozenset(string.ascii_letters + string.digits + " ,.%()-")  # neither code nor markup inside a string
FIRST_STRONG, POP = "\u2068", "\u2069"  # what stands between them is laid out on its own, whatever its direction


def plain(text: str, most: int = LONGEST_SENTENCE) -> str:
    """A text as one line of at most `most` letters, less what cannot be seen or written down.

    One that is written from right to left is set apart, so that what stands beside it keeps its place.
    """
    line = one_line(text[: 4 * most].encode("utf-8", "replace").decode(), most)
    return f"{FIRST_STRONG}{line}{POP}" if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in line) else line


def escaped(text: str) -> str:
    """The text as an MDX expression that shows exactly it, whatever it holds."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = (units[k] << 8 | units[k + 1] for k in range(0, len(units), 2))
    return '{"' + "".join(chr(code) if chr(code) in HARMLESS else f"\\u{code:04x}" for code in codes) + '"}'


def percent(share: float) -> str:
    """0..1 as a whole number of hundredths."""
    return f"{100 * share:.0f} %"


def number(count: int) -> str:
    """A count with thin gaps between thousands."""
    return f"{count:,}".replace(",", "\u202f")


# -------------------------------------------------------------------- lines


def path_line(path: Sequence[str], most: int = LONGEST_LINE) -> str:
    """A path from the top down; of a long one as many names from its end as there is room for, at least one."""
    names = [plain(name, LONGEST_NAME) or "…" for name in path]
    begin = next((k for k in range(len(names)) if len(" / ".join(names[k:])) <= most), len(names) - 1)
    return " / ".join(["…", *names[begin:]] if begin else names)


def hit_line(found: Found, rank: int) -> str:
    """An answer in a menu, how likely it is and its name first, for menus are narrow; `rank` from 0."""
    several = f" (×{len(found.members)})" if len(found.members) > 1 else ""
    around = f" · in {path_line(found.path[:-1])}" if len(found.path) > 1 else ""
    return f"{rank + 1}. {percent(found.probability)} {path_line(found.path[-1:])}{several}{around}"


def part_lines(loaded: Loaded, level: int, most: int = MOST_OFFERED) -> tuple[tuple[tuple[str, int], ...], int]:
    """The parts down to a level, each with a line of its own, in the order of the tree; and how many there are.

    The whole scene is listed at level 0, where there is nothing else. Of more than `most` parts those with the most points are given.
    """
    depth, points = loaded.tree.depth, loaded.spans.num_points
    there = [part for part in loaded.spans.order.tolist() if min(1, level) <= depth[part] <= level]
    kept = set(sorted(there, key=lambda part: -points[part])[:most])
    parts = [part for part in there if part in kept]
    return tuple(zip(told_apart([path_line(loaded.path(part), LONGEST_OFFERED) for part in parts], parts), parts, strict=True)), len(there)


def told_apart(lines: Sequence[str], parts: Sequence[int]) -> list[str]:
    """The lines, each once: those that several parts share, or that end as if they did, are followed by the part's number."""
    shared = Counter(lines)
    return [f"{line} · part {part}" if shared[line] > 1 or " · part " in line else line for line, part in zip(lines, parts, strict=True)]


def unique(texts: Sequence[str], most: int = LONGEST_LINE) -> tuple[tuple[str, str], ...]:
    """Lines of texts, each line once, and the first text of each."""
    lines: dict[str, str] = {}
    for text in texts:
        if line := plain(text, most):
            lines.setdefault(line, text)
    return tuple(lines.items())


def typed_out(history: Sequence[str]) -> list[str]:
    """Searches, newest first, without those that the next one went on with: a pause in typing searches too."""
    newer = ("", *history)
    return [text for text, after in zip(history, newer) if not after.startswith(text)]


# -------------------------------------------------------------------- markup


def small(*said: str) -> str:
    """A line of markup in small letters, its pieces separated by dots."""
    return f'<div style={{{{fontSize: "0.8em", lineHeight: 1.45, opacity: 0.75, overflowWrap: "anywhere"}}}}>{" · ".join(said)}</div>'


def large(markup: str) -> str:
    """A line of markup in the size of the panel."""
    return f'<div style={{{{fontSize: "0.9em", lineHeight: 1.45, overflowWrap: "anywhere"}}}}>{markup}</div>'


def sentence(text: str) -> str:
    """A text as a line of small letters; "" for none."""
    return small(escaped(line)) if (line := plain(text)) else ""


def folded(title: str, paragraphs: Sequence[str], most: int = LONGEST_THOUGHT) -> str:
    """Paragraphs that open when the title is pressed; `title` is ours, the paragraphs are not. "" for none."""
    lines = [line for paragraph in paragraphs for each in paragraph[:most].splitlines() if (line := plain(each, most))]
    inside = "<br/>".join(escaped(line) for line in lines)
    return small(f"<details><summary>{title}</summary>{inside}</details>") if lines else ""


def _strong_path(path: Sequence[str]) -> str:
    above = path_line(path[:-1]) if len(path) > 1 else ""
    return (escaped(f"{above} / ") if above else "") + f"<b>{escaped(path_line(path[-1:]))}</b>"


def _joined(*lines: str) -> str:
    """Each on a line of its own, in a block of its own."""
    return "\n\n".join(line for line in lines if line)


# -------------------------------------------------------------------- cards


def card(loaded: Loaded, parts: Sequence[int]) -> str:
    """What is known of the selection, as markup: of one part everything, of several their paths."""
    if not parts:
        return small("Nothing is selected. Search, or click a part.")
    return _card_of_one(loaded, parts[0]) if len(parts) == 1 else _card_of_several(loaded, parts)


def _card_of_one(loaded: Loaded, part: int) -> str:
    label = loaded.labels.get(part)
    facts = (f"part {part}", f"level {int(loaded.tree.depth[part])}", f"{number(int(loaded.spans.num_points[part]))} points")
    return _joined(large(_strong_path(loaded.path(part))), small(*facts, *_sure_of(label)), *_said_of(label))


def _sure_of(label: NodeLabel | None) -> tuple[str, ...]:
    """Who named it and how sure that is; of what was not named, that."""
    if label is None or label.status == "failed":
        return ("not named",)
    sure = (f"{percent(label.confidence)} sure",) if label.source == "vlm" else ()
    return (*sure, escaped(SOURCES.get(label.source, plain(label.source, LONGEST_NAME))))


def _said_of(label: NodeLabel | None) -> tuple[str, ...]:
    if label is None:
        return ()
    synonyms = ", ".join(plain(text, LONGEST_NAME) for text in label.synonyms[:MOST_LISTED])
    others = ", ".join(f"{plain(name, LONGEST_NAME)} {percent(score)}" for name, score in label.alternatives[:MOST_LISTED])
    return (
        sentence(label.function), sentence(f"Also: {synonyms}" if synonyms else ""), sentence(f"May also be: {others}" if others else ""),
        small("It hardly fits what its parent is called.") if label.parent_suspect else "",
        sentence(f"Note: {label.reason}" if label.reason else ""), folded("Thinking", (label.thinking,)),
    )


def _card_of_several(loaded: Loaded, parts: Sequence[int]) -> str:
    points = sum(int(loaded.spans.num_points[part]) for part in parts)
    lines = [small(f"{_strong_path(loaded.path(part))} (part {part})") for part in parts[:MOST_LISTED]]
    more = small(f"and {len(parts) - MOST_LISTED} more") if len(parts) > MOST_LISTED else ""
    return _joined(large(f"<b>{len(parts)} parts</b>"), small(f"{number(points)} points together"), *lines, more)


def answer_card(answered: Answered) -> str:
    """What answers a question and how that was come to, as markup."""
    answer, targets = answered.answer, answered.targets
    found = [large(f"{_strong_path(target.path)} (part {target.part})") for target in targets[:MOST_LISTED]]
    more = small(f"and {len(targets) - MOST_LISTED} more") if len(targets) > MOST_LISTED else ""
    anchors = ", ".join(path_line(each.path, LONGEST_NAME) for each in answered.anchors[:MOST_LISTED])
    rejected = [f"{path_line(answered.scene.part(part).path)}: {why}" for part, why in answer.rejected[:MOST_LISTED]]
    return _joined(
        *found, more, sentence(answered.explain()), sentence(f"{percent(answer.sure)} sure ({answer.sure_by})" if targets else ""),
        sentence(f"Told by: {anchors}" if anchors else ""), folded("How", (*answer.steps, *((answer.method,) if answer.method else ()))),
        folded("Why not others", rejected),
    )


def who_answers(vlm: Vlm | None) -> str:
    """Who is asked, in a sentence."""
    if vlm is None:
        return ("No model is configured: the form of the question and the names decide, and say so when they cannot. The model that named "
                "the parts (semquery label RUN vlm:…) is asked, or another that is named at the start: semquery view RUN "
                "vlm:open-ai-server --vlm.model NAME; ns-train … --pipeline.vlm.model NAME; for ns-viewer "
                "in the run's config.yml, under pipeline and vlm.")
    if isinstance(vlm, OpenAiServer):
        return f"Questions are put to the model {plain(vlm.model, LONGEST_LINE)} at {plain(vlm.base_url.rpartition('@')[2], LONGEST_LINE)}."
    return f"Questions are put to {plain(vlm.identity, LONGEST_LINE)}."


def exported_whom(loaded: Loaded | None, parts: Sequence[int]) -> str:
    """What an export writes, in a sentence."""
    if loaded is None:
        return "There is no part tree yet, so there is nothing to export."
    if not parts:
        return f"Nothing is selected: all {number(loaded.tree.num_parts)} parts are exported."
    inside = sum(int(loaded.spans.last[part] - loaded.spans.first[part]) for part in parts) - len(parts)
    chosen = path_line(loaded.path(parts[0])) if len(parts) == 1 else f"the {len(parts)} selected parts"
    held = f", with {number(inside)} {'part' if inside == 1 else 'parts'} inside" if inside else ""
    return f"Exports {chosen}{held}."
