"""Answering a prompt token by token, with as little computed anew as possible.

The model is run directly, not through its generate(): only so can a prompt with pictures be continued from a cache
of its beginning. Of such a prompt only the rest is computed: its tokens, the pixels of its own pictures, and its positions, which
have three axes (time, row, column) and are taken from the whole prompt.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from semquery.vlm.base import VlmError
from semquery.vlm.prefix import PrefixStore, can_be_cut
from semquery.vlm.reading import Prompt, Reader


@dataclass
class State:
    """A model in the middle of a text."""

    cache: Any
    logits: Any  # of the token to come [words]
    position: int  # of the token to come, on all three axes
    known: int  # tokens of the prompt that had been computed before


def prefill(model: Any, reader: Reader, prompt: Prompt, store: PrefixStore | None = None) -> State:
    """Read a prompt, from where the store knows it; leave in the store what later prompts may begin with."""
    positions = positions_of(model, reader, prompt)
    known, cache = store.longest(prompt.marks) if store is not None else (0, None)
    cache = new_cache(model) if cache is None else cache
    logits, start = None, known
    for stop in [*(f for f in forks(prompt, can_be_cut(cache)) if f > known), len(prompt)]:
        logits = forward(model, reader, prompt, start, stop, positions, cache)
        if store is not None and stop < len(prompt):
            store.add(prompt.marks[:stop], cache)
        start = stop
    return State(cache, logits, int(positions.max()) + 1, known)


def forks(prompt: Prompt, can_be_cut: bool) -> list[int]:
    """Where later prompts may part from this one: children before the answer, siblings before the last question.

    A cache that can be cut serves both from the later place. The start of the answer itself is no such place: some
    families open it with thoughts that they leave out once it is history.
    """
    wanted = [f for f in prompt.turns[-2:] if f > 0]
    return wanted[-1:] if can_be_cut else wanted


def forward(model: Any, reader: Reader, prompt: Prompt, start: int, stop: int, positions: Any, cache: Any) -> Any:
    """Compute tokens start … stop - 1 onto the cache; the logits of the token to come."""
    import torch

    inside = [k for k, place in enumerate(prompt.starts) if start <= place < stop]
    shown = [reader.pixels(prompt.pictures[k]) for k in inside]
    pictures = {}
    if shown:
        pictures["pixel_values"] = torch.cat([pixels for pixels, _ in shown]).to(model.device)
        pictures["image_grid_thw"] = torch.from_numpy(np.stack([grid for _, grid in shown])).to(model.device)
    ids = torch.from_numpy(prompt.ids[None, start:stop]).to(model.device)
    places = positions[..., start:stop]
    found = model(input_ids=ids, position_ids=places, past_key_values=cache, use_cache=True, logits_to_keep=1, **pictures)
    return found.logits[0, -1].float()


def positions_of(model: Any, reader: Reader, prompt: Prompt) -> Any:
    """The model's own three-axis positions of all tokens [3, 1, n]."""
    import torch

    ids = torch.from_numpy(prompt.ids[None])
    kinds = (ids == model.config.image_token_id).int()  # 0 text, 1 picture
    grids = torch.from_numpy(np.stack([reader.pixels(p)[1] for p in prompt.pictures])) if prompt.pictures else None
    return model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grids)[0].to(model.device)


def decode(model: Any, state: State, max_tokens: int, temperature: float = 0.0, seed: int = 0) -> tuple[list[int], list[float]]:
    """Tokens until the model ends its answer, and their log-probabilities (natural, at temperature 1)."""
    import torch

    chance = torch.Generator().manual_seed(seed)
    ends = end_tokens(model)
    ids: list[int] = []
    scores: list[float] = []
    while len(ids) < max_tokens:
        token, score = choose(state.logits, temperature, chance)
        if token in ends:
            break
        ids.append(token)
        scores.append(score)
        if len(ids) < max_tokens:
            advance(model, state, token)
    return ids, scores


def choose(logits: Any, temperature: float, chance: Any) -> tuple[int, float]:
    """The likeliest token, or one drawn at random (on the CPU, so that a seed means the same on every device)."""
    import torch

    scores = torch.log_softmax(logits, -1)
    if temperature > 0:
        token = int(torch.multinomial(torch.softmax(logits.cpu().double() / temperature, -1).nan_to_num(), 1, generator=chance))
    else:
        token = int(scores.argmax())
    score = float(scores[token])
    if not math.isfinite(score):
        raise VlmError("The model's numbers overflowed; use bfloat16 or float32 (--vlm.dtype).")
    return token, score


def advance(model: Any, state: State, token: int) -> None:
    import torch

    ids = torch.tensor([[token]], device=model.device)
    positions = torch.full((3, 1, 1), state.position, device=model.device)
    found = model(input_ids=ids, position_ids=positions, past_key_values=state.cache, use_cache=True, logits_to_keep=1)
    state.logits, state.position = found.logits[0, -1].float(), state.position + 1


def end_tokens(model: Any) -> set[int]:
    found = model.generation_config.eos_token_id
    found = model.config.get_text_config().eos_token_id if found is None else found
    return set(found) if isinstance(found, (list, tuple)) else {found}


def new_cache(model: Any) -> Any:
    from transformers import DynamicCache

    return DynamicCache(config=model.config.get_text_config(decoder=True))
