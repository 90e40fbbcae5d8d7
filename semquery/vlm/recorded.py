"""A model as a record that it is made again from: its class and its settings, and never a key.

A server's key is in the environment; its settings only name the variable. A setting that names no variable, where somebody
put the key itself, makes no record.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from semquery.manifest import as_config
from semquery.vlm.base import Vlm
from semquery.vlm.qwen import QwenVl
from semquery.vlm.server import OpenAiServer

MADE_AGAIN = {kind.__name__: kind for kind in (QwenVl, OpenAiServer)}


def vlm_record(vlm: Vlm) -> dict[str, Any] | None:
    """{"class": …, field: value}; None for what answers from a recording, a script or measurements, and for a key among the settings."""
    if isinstance(vlm, QwenVl):
        folder = Path(vlm.checkpoint).expanduser()
        where = str(folder.resolve()) if folder.is_dir() else vlm.checkpoint
        return as_config(replace(vlm, checkpoint=where, download=False))  # what was fetched once is there
    return as_config(vlm) if isinstance(vlm, OpenAiServer) and vlm.key_variable.isidentifier() else None


def vlm_from(record: Mapping[str, Any]) -> Vlm | None:
    """The model of a record; None for one that this version does not know, or whose settings it has not."""
    kind, given = MADE_AGAIN.get(record.get("class", "")), {name: value for name, value in record.items() if name != "class"}
    if kind is None or not set(given) <= {field.name for field in fields(kind)}:
        return None
    try:
        return kind(**given)
    except (ValueError, TypeError, AttributeError):  # a record that was changed by hand
        return None
