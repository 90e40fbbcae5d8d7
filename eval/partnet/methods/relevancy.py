"""How relevant each node is to each query: LERF's relevancy of what stands for the node.

    r(v, q) = min_j σ(T (φ_v · φ_q - φ_v · φ_j))   over the negatives j: object, things, stuff, texture

Notation
  p nodes, k vectors that stand for nodes (several for one node, or none), d width of a vector, j negatives. Vectors are
  of unit length, or zero where the encoder knows nothing of a text.
Conventions
  A node is as relevant as the best of its vectors. One without a vector, or with zero vectors only, has r = 0 for
  every query, and a query of which the encoder knows nothing has r = 0 for every node: nothing is near what is not
  known (by the formula it would be at σ(0) = .5). Negatives are encoded as queries, whose place they take.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

from eval.partnet.records import Asked
from semquery.codebook import said
from semquery.prompts import negatives
from semquery.query.scorers import relevancy
from semquery.text import TextEncoder
from semquery.types import NodeLabel

Encode = Callable[[Sequence[str]], np.ndarray]
TOLD = ("name", "synonym", "function")  # of what is said about a part, what index="said" looks in


def relevancy_of_labels(
    labels: Mapping[int, NodeLabel], num_nodes: int, asked: Sequence[Asked], encoder: TextEncoder,
    index: Literal["name", "said"] = "name", temperature: float = 10.0,
) -> dict[str, Float32[np.ndarray, "p _"]]:
    """kind → r of every node for every query; a node without a label, or whose label failed, has 0."""
    node_of_text, texts = texts_of(labels, index)
    return relevancy_of_vectors(encoded(encoder.passages, texts), node_of_text, num_nodes, asked, encoder, temperature)


def texts_of(labels: Mapping[int, NodeLabel], index: Literal["name", "said"]) -> tuple[Int[np.ndarray, " k"], list[str]]:
    """The texts that stand for the nodes, and the node of each."""
    fields = TOLD if index == "said" else TOLD[:1]
    entries = [(node, text) for node, label in sorted(labels.items()) for field, text in said(label) if field in fields]
    return np.array([node for node, _ in entries], np.int64), [text for _, text in entries]


def relevancy_of_vectors(
    vectors: Float[np.ndarray, "k d"], node_of_vector: Int[np.ndarray, " k"], num_nodes: int, asked: Sequence[Asked],
    encoder: TextEncoder, temperature: float = 10.0,
) -> dict[str, Float32[np.ndarray, "p _"]]:
    """The same of vectors in the space of the encoder's queries."""
    beaten = encoder.queries(negatives())
    queries = encoded(encoder.queries, [text for each in asked for text in each.texts])
    of_vector = relevancies(vectors, queries, beaten, temperature)
    of_node = np.zeros((num_nodes, len(queries)), np.float32)
    np.maximum.at(of_node, node_of_vector, of_vector)
    ends = np.cumsum([len(each.texts) for each in asked])
    return {each.kind: of_node[:, end - len(each.texts) : end] for each, end in zip(asked, ends, strict=True)}


def relevancies(
    vectors: Float[np.ndarray, "k d"], queries: Float[np.ndarray, "q d"], beaten: Float[np.ndarray, "j d"], temperature: float
) -> Float32[np.ndarray, "k q"]:
    """r of every vector for every query; 0 where one of the two is the zero vector."""
    known = vectors.any(1)
    columns = [relevancy(vectors, query, beaten, temperature) * (known & query.any()) for query in queries]
    return np.array(columns, np.float32).reshape(len(queries), len(vectors)).T


def encoded(encode: Encode, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
    """A vector for each text; equal texts are encoded once."""
    distinct = list(dict.fromkeys(texts))
    row = {text: k for k, text in enumerate(distinct)}
    return encode(distinct)[[row[text] for text in texts]]
