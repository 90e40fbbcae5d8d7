"""What a model has computed of earlier prompts, kept for prompts that begin alike.

A prompt of n tokens is told apart by its marks [n]: the token ids, and in the places that a picture fills, a negative
number made from the picture's content. So equal marks mean equal input, and two prompts share exactly their
longest common prefix of marks. What the model keeps of a prefix is its cache: keys and values of every layer (which can be
cut at any token), or a running state (linear attention: it cannot be cut, only be continued from where it was saved).
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Prefix:
    """The cache of a prompt's beginning. Never continued itself, only branched from."""

    marks: Int[np.ndarray, "n"]
    cache: Any

    def shared(self, marks: Int[np.ndarray, "m"]) -> int:
        """How many tokens of another prompt it saves; at least one is left to compute, for there the answer begins."""
        same = cut_before_picture(marks, min(common_prefix(self.marks, marks), len(marks) - 1))
        return same if can_be_cut(self.cache) or same == len(self.marks) else 0

    def holds(self, marks: Int[np.ndarray, "m"]) -> bool:
        """Whether the cache of this shorter or equal prefix can be had from it."""
        same = common_prefix(self.marks, marks) == len(marks)
        return same and (can_be_cut(self.cache) or len(marks) == len(self.marks))


class PrefixStore:
    """Prefixes up to a number of bytes. Those that share least with the last prompt are forgotten first: the path walked now stays."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.prefixes: list[Prefix] = []  # the first is forgotten first

    @property
    def num_bytes(self) -> int:
        return sum(num_bytes(p.cache) for p in self.prefixes)

    def longest(self, marks: Int[np.ndarray, "n"]) -> tuple[int, Any]:
        """How many tokens of the prompt are known, and a cache of them that may be continued (None if there are none)."""
        self.prefixes.sort(key=lambda p: p.shared(marks))  # stable: equals stay in the order of their use
        known = self.prefixes[-1].shared(marks) if self.prefixes else 0
        return known, branch(self.prefixes[-1].cache, known) if known else None

    def add(self, marks: Int[np.ndarray, "n"], cache: Any) -> None:
        """Keep the cache of a prompt's beginning as it is now, unless it is larger than the store."""
        if num_bytes(cache) > self.limit or any(p.holds(marks) for p in self.prefixes):
            return
        new = Prefix(marks, branch(cache, len(marks)))
        self.prefixes = [*(p for p in self.prefixes if not new.holds(p.marks)), new]
        while self.num_bytes > self.limit:
            self.prefixes.pop(0)

    def clear(self) -> None:
        self.prefixes.clear()


def common_prefix(a: Int[np.ndarray, "n"], b: Int[np.ndarray, "m"]) -> int:
    """The length of what two sequences share from their start."""
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


def cut_before_picture(marks: Int[np.ndarray, "n"], length: int) -> int:
    """The length, cut back to the start of the picture that it would split."""
    while 0 < length < len(marks) and marks[length] < 0 and marks[length - 1] == marks[length]:
        length -= 1
    return length


def can_be_cut(cache: Any) -> bool:
    """Whether every layer keeps keys and values of all tokens."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def branch(cache: Any, length: int) -> Any:
    """The first `length` tokens of a cache, to be continued without touching the original.

    Keys and values are shared, not copied: a layer continues by making longer arrays. Other layers write over their
    state, and are copied.
    """
    from transformers.cache_utils import DynamicLayer

    other = copy.copy(cache)
    other.layers = [copy.copy(layer) if type(layer) is DynamicLayer else copy.deepcopy(layer) for layer in cache.layers]
    for layer in other.layers:
        if type(layer) is DynamicLayer and layer.is_initialized and layer.get_seq_length() > length:
            layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]
    return other


def num_bytes(cache: Any) -> int:
    """The memory of all arrays of a cache."""
    import torch

    held = [value for layer in cache.layers for value in vars(layer).values()]
    inner = [v for value in held for v in (value.values() if isinstance(value, dict) else [value])]
    return sum(v.numel() * v.element_size() for v in inner if isinstance(v, torch.Tensor))
