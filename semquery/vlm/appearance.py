"""Names without a model: what can be measured, put into words."""

import json
from dataclasses import dataclass
from typing import ClassVar

from semquery.vlm.base import Answer, Request


@dataclass(frozen=True)
class Appearance:
    """Names parts by what can be measured: size, colour, shape. No weights, and no idea what anything is for."""

    source: ClassVar[str] = "rule"
    identity: ClassVar[str] = "Appearance"

    def check(self) -> str:
        return "names by measured colour, shape and size; no model"

    def __call__(self, request: Request) -> Answer:
        f = request.facts
        assert f is not None, "there is nothing to measure"
        look = f"{f.color} {'round ' if f.is_round else ''}{f.shape}"
        group = f"one of {f.num_alike + 1} alike, " if f.num_alike else ""
        inner = f", made of {f.num_parts} {'part' if f.num_parts == 1 else 'parts'}" if f.num_parts else ""
        answer = {
            "thinking": f"Measured, not understood: {f.in_words()}.",
            "name": f"{f.size} {look}",
            "synonyms": [look] + ([f"{f.second_color} {f.shape}"] if f.second_color else []),
            "function": f"{group}{f.place}{inner}; what it is for is not known from appearance",
            "alternatives": [],
            "confidence": 0.3,
        }
        return Answer(json.dumps(answer, ensure_ascii=False))
