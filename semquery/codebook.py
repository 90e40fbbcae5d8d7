"""The codebook: everything that is said about the parts, as vectors.

A part is spoken for by its name, its synonyms, its function line and the other names that were thought of; each is an
entry. Equal texts share one row of vectors however many parts they are said of, so four hundred screws cost one row.
Beside them stand the negatives, which a hit has to beat, and the bank of generic part names, which say what else a
query might mean. Pictures of the parts are rows of their own, in the space of a picture encoder.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from semquery.manifest import as_config
from semquery.text import PictureEncoder, TextEncoder
from semquery.types import Codebook, NodeLabel


def build_codebook(
    labels: Mapping[int, NodeLabel], encoder: TextEncoder, negatives: Sequence[str], bank: Sequence[str],
    pictures: Mapping[int, bytes] | None = None, picture_encoder: PictureEncoder | None = None,
) -> Codebook:
    """Embed what is said of the parts, those left out that could not be named; every distinct text is encoded once.

    Raises ValueError for pictures without an encoder of pictures.
    """
    if pictures and picture_encoder is None:
        raise ValueError(f"There are pictures of {len(pictures)} parts but no encoder of pictures; name one, or leave the pictures out.")
    entries = [(part, field, text) for part, label in sorted(labels.items()) for field, text in said(label)]
    row_of_text = {text: row for row, text in enumerate(dict.fromkeys(text for _, _, text in entries))}
    shown = sorted(pictures.items()) if pictures else []
    return Codebook(
        texts=tuple(row_of_text), vectors=encoder.passages(list(row_of_text)),
        part_of_entry=np.array([part for part, _, _ in entries], np.int32),
        text_of_entry=np.array([row_of_text[text] for _, _, text in entries], np.int32), fields=tuple(field for _, field, _ in entries),
        negative_texts=tuple(negatives), negatives=encoder.passages(list(negatives)),
        bank_texts=tuple(bank), bank=encoder.passages(list(bank)),
        encoder=encoder.identity, encoder_config=as_config(encoder),
        part_of_picture=np.array([part for part, _ in shown], np.int32), pictures=_picture_rows([png for _, png in shown], picture_encoder),
        picture_encoder=picture_encoder.identity if shown else "", picture_encoder_config=as_config(picture_encoder) if shown else {},
    )


def said(label: NodeLabel) -> list[tuple[str, str]]:
    """(field, text) of everything said of a part, no text twice; nothing of a part that has no name."""
    if label.status == "failed" or label.name == "unknown":
        return []
    fields = [("name", label.name), *(("synonym", s) for s in label.synonyms), ("function", label.function),
              *(("alternative", name) for name, _ in label.alternatives)]
    seen: set[str] = set()
    return [(f, t) for f, t in fields if t.strip() and not (t.casefold() in seen or seen.add(t.casefold()))]


def _picture_rows(pngs: Sequence[bytes], encoder: PictureEncoder | None) -> Float32[np.ndarray, "q a"]:
    return encoder.pictures(pngs) if pngs and encoder is not None else np.zeros((0, 0), np.float32)
