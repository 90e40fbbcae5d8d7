"""What a text encoder is: texts and pictures as unit vectors whose scalar product says how near their meanings are.

An encoder is a frozen dataclass, configuration and callable in one. It opens its files when it is first used, holds
them, and may be used from several threads at once. A text has the same vector whatever texts it came with. What an
encoder knows nothing of (the empty text; for `Lexical`, a text of stop words) has the zero vector, which is near nothing.

Queries and passages (what is searched in) are encoded by methods of their own, since some models were trained with a
different prefix for each.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

# words that say nothing about which part is meant
_STOP = frozenset("a an and any are at by for from i in is it its me my of on one or part parts piece please show that the this thing to which with".split())


class TextEncoder(ABC):
    """Texts as vectors; every class is one that has these members.

    A Protocol would look for them on the instance, and to ask an encoder for its identity opens its files.
    """

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        wanted = {name for base in cls.__mro__ for name in getattr(base, "__abstractmethods__", ())}
        return wanted <= {name for base in other.__mro__ for name in {*vars(base), *vars(base).get("__annotations__", ())}}

    @property
    @abstractmethod
    def identity(self) -> str:
        """What decides the vectors: the model's content and the prefixes; never an address, a key or a device."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """lexical | clip | sentence: which scorer suits."""

    @abstractmethod
    def check(self) -> str:
        """Open what is needed, and say in one line what was found. Raises ValueError when it cannot be used."""

    @abstractmethod
    def queries(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        """A unit vector per text that is asked for, or zeros where nothing of it is known."""

    @abstractmethod
    def passages(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        """The same for texts that are searched in."""


class PictureEncoder(TextEncoder):
    """Texts and pictures as vectors of one space."""

    @abstractmethod
    def pictures(self, pngs: Sequence[bytes]) -> Float32[np.ndarray, "k d"]:
        """A unit vector per picture, comparable with those of queries. Raises ValueError for a checkpoint that knows no pictures."""


class once:
    """functools.cached_property, but of several threads that come at once one computes and the others wait."""

    _lock = threading.RLock()  # one for all: an encoder's properties build on each other, and opening is rare

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.name not in vars(instance):
            with self._lock:
                if self.name not in vars(instance):  # another thread may have been faster
                    vars(instance)[self.name] = self.compute(instance)
        return vars(instance)[self.name]


def words(text: str) -> list[str]:
    """Lower-case words without those that say nothing; British and American spellings of grey are one."""
    found = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return [{"gray": "grey"}.get(w, w) for w in found if w not in _STOP]


def encoded(
    texts: Sequence[str], encode: Callable[[Sequence[str]], Float[np.ndarray, "b d"]], prefix: str, batch: int,
) -> Float32[np.ndarray, "k d"]:
    """Texts through a model, `batch` at a time; empty ones are zero, and the model never sees them.

    A model that has nothing to encode is given a word all the same, to learn how long its vectors are.
    """
    plain = [text.encode(errors="replace").decode().strip() for text in texts]  # a half of a surrogate pair is no letter
    known = [k for k, text in enumerate(plain) if text]
    given = [prefix + plain[k] for k in known] or ["handle"]
    rows = np.concatenate([encode(given[start : start + batch]) for start in range(0, len(given), batch)])
    if not np.isfinite(rows).all():
        raise ValueError("The text encoder gives vectors that hold no numbers (NaN or infinity); its weights are damaged, or it overflows.")
    vectors = np.zeros((len(plain), rows.shape[1]), np.float32)
    vectors[known] = unit_rows(rows[: len(known)])
    return vectors


def unit_rows(vectors: Float[np.ndarray, "k d"]) -> Float32[np.ndarray, "k d"]:
    """Every row over its length; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
