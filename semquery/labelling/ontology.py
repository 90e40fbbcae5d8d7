"""Names to choose from, read from a JSON file: a list of names, or names by kind of object.

With kinds, a part is offered the names of the kinds that its ancestors' names mention: below a "wooden chair" those of
"chair". A model may always reject them. Where the list is long, what a part looks like can choose from it (`by_looks`).
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from semquery.labelling.config import LabelConfig
from semquery.labelling.context import Candidates, no_candidates
from semquery.prompts import template
from semquery.vlm.clip import ClipRanking

LIKELIEST = 8  # names worth offering, when they are chosen by looks


def candidates_of(config: LabelConfig, pictures: Callable[[int], tuple[bytes, ...]], prefix: str = "") -> Candidates:
    """The names that each part is offered, by the settings; `prefix` stands before the names of the options in errors.

    Raises ValueError for lists and checkpoints that cannot be used.
    """
    if config.candidates is None:
        if config.candidates_clip:
            raise ValueError(f"--{prefix}candidates-clip chooses from a list: give one with --{prefix}candidates "
                             "(ontology_partnet.json is shipped).")
        return no_candidates
    listed = candidates_from(config.candidates)
    if not config.candidates_clip:
        return listed
    best = _ranking(config.candidates_clip).best
    return by_looks(listed, all_names(config.candidates), lambda part: next(reversed(pictures(part)), None), best)


@lru_cache(maxsize=1)
def _ranking(checkpoint: str) -> ClipRanking:
    """Opened, and open from scene to scene. Raises ValueError."""
    ranking = ClipRanking(checkpoint)
    ranking.check()
    return ranking


def candidates_from(path: Path) -> Candidates:
    """A function from a part and its ancestors' names to the names it may have; a bare file name may be one of prompts/.

    Raises ValueError for files that are not there or hold something else.
    """
    try:
        text = path.read_text() if path.is_file() else template(str(path))
    except ValueError as error:
        raise ValueError(f"There is no file {path} with names to offer, here or among the prompts.") from error
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if _is_names(record):
        return lambda part, ancestors: record
    if isinstance(record, dict) and record and all(_is_names(names) for names in record.values()):
        return lambda part, ancestors: offered(record, ancestors)
    raise ValueError(f'{path} holds neither a list of names nor lists of names by kind, such as {{"chair": ["leg", "seat"]}}.')


def all_names(path: Path) -> list[str]:
    """Every name of a file, whatever its kind, each once."""
    candidates_from(path)  # says what is wrong with it
    record = json.loads(path.read_text() if path.is_file() else template(str(path)))
    lists = record.values() if isinstance(record, dict) else [record]
    return list(dict.fromkeys(name for names in lists for name in names))


def by_looks(
    candidates: Candidates, names: Sequence[str], picture: Callable[[int], bytes | None],
    best: Callable[[bytes, Sequence[str], int], list[str]], most: int = LIKELIEST,
) -> Candidates:
    """Of the candidates (of all `names` where there are none) the few that `best` finds in a part's picture."""

    def likeliest(part: int, ancestors: Sequence[str]) -> list[str]:
        png = picture(part)
        found = list(candidates(part, ancestors)) or list(names)
        return best(png, found, most) if png is not None else found[:most]

    return likeliest


def offered(kinds: dict[str, list[str]], ancestors: Sequence[str]) -> list[str]:
    """The names of all kinds that the ancestors' names mention, the nearest ancestor's first."""
    found: dict[str, None] = {}
    for name in reversed(ancestors):
        for kind, names in kinds.items():
            if re.search(rf"\b{re.escape(kind.lower())}s?\b", name.lower()):
                found.update(dict.fromkeys(names))
    return list(found)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
