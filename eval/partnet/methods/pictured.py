"""What nodes look like, in the space of an encoder that knows pictures and words: clip-crop and hybrid.

    clip-crop   φ_v = the mean of the unit vectors of a node's crops, at unit length again
    hybrid      φ_v = α · φ_name + (1 - α) · φ_crop, at unit length; names are those of cot, in the same space

α = 1 is cot with this encoder, α = 0 is clip-crop. In hybrid, a node without a name goes by its picture alone.
"""

import time
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float32

from eval.partnet.methods.asking import plus
from eval.partnet.methods.backends import Backends
from eval.partnet.methods.relevancy import encoded, relevancy_of_vectors, texts_of
from eval.partnet.methods.walked import cot
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, Cost, Said
from semquery.text import PictureEncoder
from semquery.types import NodeLabel


def clip_crop(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """By the masked crops of each node. Raises ValueError without an encoder of pictures."""
    start, encoder = time.monotonic(), _encoder(backends)
    vectors, num_pictures = crop_vectors(shown, encoder, backends.config.crop_views)
    num_nodes = len(vectors)
    found = relevancy_of_vectors(vectors, np.arange(num_nodes), num_nodes, asked, encoder, backends.config.temperature)
    return Said(found, cost=Cost(pictures=num_pictures, failed=int((~vectors.any(1)).sum()), seconds=time.monotonic() - start))


def hybrid(shown: Shown, asked: tuple[Asked, ...], backends: Backends) -> Said:
    """By name and crop. What cot said is taken from `backends.earlier`; the cost is that of both."""
    encoder, alpha = _encoder(backends), backends.config.alpha
    named = backends.earlier.get("cot") or cot(shown, asked, backends)
    start = time.monotonic()
    crops, num_pictures = crop_vectors(shown, encoder, backends.config.crop_views)
    labels = {node: NodeLabel(node, name, named.synonyms[node]) for node, name in enumerate(named.names) if name}
    node_of_text, texts = texts_of(labels, backends.config.index)
    nameless = np.setdiff1d(np.arange(len(crops)), node_of_text)
    node = np.concatenate([node_of_text, nameless])
    words = encoded(encoder.passages, [*texts, *[""] * len(nameless)])  # the vector of the empty text is zero
    mixed = unit(alpha * words + (1 - alpha) * crops[node])
    found = relevancy_of_vectors(mixed, node, len(crops), asked, encoder, backends.config.temperature)
    return replace(named, relevancy=found, cost=plus(named.cost, Cost(pictures=num_pictures, seconds=time.monotonic() - start)))


def crop_vectors(shown: Shown, encoder: PictureEncoder, count: int) -> tuple[Float32[np.ndarray, "p d"], int]:
    """φ_v of every node by its best `count` crops, zero for one without a picture; and how many pictures there were."""
    crops = [shown.crop(node, count) for node in range(len(shown.thing.parents))]
    vectors = encoder.pictures([png for of_node in crops for png in of_node])
    node = np.repeat(np.arange(len(crops)), [len(of_node) for of_node in crops])
    total = np.zeros((len(crops), vectors.shape[1]), np.float32)
    np.add.at(total, node, vectors)
    return unit(total), len(vectors)


def unit(vectors: Float[np.ndarray, "k d"]) -> Float32[np.ndarray, "k d"]:
    """Rows at unit length; rows of next to nothing (opposite vectors that cancel) become zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), 0).astype(np.float32)


def _encoder(backends: Backends) -> PictureEncoder:
    if backends.picture_encoder is None:
        raise ValueError("Pictures are compared with words by CLIP or SigLIP, and no such encoder is given: take encoder:open-clip, "
                         "or encoder:hf-text with the folder of one.")
    return backends.picture_encoder
