"""Texts (and pictures) as vectors: by spelling, by CLIP, by sentence encoders, by a server."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from semquery.text.base import PictureEncoder, TextEncoder, words
from semquery.text.hf import HfText
from semquery.text.lexical import Lexical
from semquery.text.open_clip import OpenClip
from semquery.text.server import EmbeddingServer

ENCODERS = Lexical | OpenClip | HfText | EmbeddingServer  # what a command line offers

__all__ = ["ENCODERS", "EmbeddingServer", "HfText", "Lexical", "OpenClip", "PictureEncoder", "TextEncoder", "encoder_from", "words"]


def encoder_from(record: Mapping[str, Any]) -> TextEncoder:
    """The encoder of a recorded configuration, {"class": …, field: value}. Raises ValueError for one that is unknown."""
    classes = {c.__name__: c for c in get_args(ENCODERS)}
    name, given = record.get("class"), {k: v for k, v in record.items() if k != "class"}
    if name not in classes:
        raise ValueError(f"There is no text encoder called {name!r}; expected {', '.join(classes)}.")
    unknown = sorted(set(given) - {f.name for f in fields(classes[name])})
    if unknown:
        raise ValueError(f"The text encoder {name} has no {', '.join(unknown)}; was it recorded by another version of semquery?")
    return classes[name](**given)
