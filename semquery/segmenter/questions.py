"""Asking a vision-language model about one picture: the request, and asking again for what cannot be read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from semquery.loose_json import one_line
from semquery.prompts import fill, template
from semquery.segmenter.base import Context, SegmenterError
from semquery.vlm import Answer, Request, Turn, Vlm, VlmError

LONGEST_QUERY = 400  # letters
LONGEST_BAD = 2000  # letters of an answer that could not be read, when it is shown again

Read = TypeVar("Read")


def question(name: str, query: str, context: Context) -> str:
    """The prompt prompts/<name> about a query: what the picture shows, as far as it is known, and what is asked for."""
    shown = " › ".join(one_line(name, 80) for name in context.ancestors)
    return fill(template(name), place=f"The picture shows: “{shown}”.\n" if shown else "", query=one_line(query, LONGEST_QUERY))


def request(text: str, png: bytes, schema: Mapping[str, Any], max_tokens: int, system: str | None = None) -> Request:
    """A question about one picture."""
    turns = (Turn("user", text, (png,)),)
    return Request(turns if system is None else (Turn("system", system), *turns), schema=schema, max_tokens=max_tokens)


def ask(vlm: Vlm, asked: Request, read: Callable[[str], Read | None], repairs: int) -> tuple[Read, Answer]:
    """What the answer says, and the answer; shown what it said, the model is asked up to `repairs` times more. Raises SegmenterError."""
    repeated = asked
    for _ in range(repairs + 1):
        try:
            answer = vlm(repeated)
        except VlmError as error:
            raise SegmenterError(str(error), error.is_away) from error
        found = read(answer.text)
        if found is not None:
            return found, answer
        again = fill(template("repair.md"), wanted="the JSON object with all its fields")
        turns = (*asked.turns, Turn("assistant", answer.text[:LONGEST_BAD] or "(nothing)"), Turn("user", again))
        repeated = replace(asked, turns=turns)
    cut = f" (it was cut at {asked.max_tokens} tokens: raise max-tokens)" if answer.cut else ""
    raise SegmenterError(f"The model's answer could not be read{cut}: {one_line(answer.text, 120)!r}.")
