"""A transformer whose tokens become one vector: pooled (mean, first, last or largest), through dense layers where there are any."""

import inspect
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from semquery.devices import choose_device
from semquery.text.layout import Layout
from semquery.vlm.dual import load_model

_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid")
_OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet")  # count positions from behind the padding's number


class SentenceModel:
    """An opened checkpoint; safe to use from several threads."""

    def __init__(self, model: Any, tokenizer: Any, dense: Sequence[Any], layout: Layout) -> None:
        self.model, self._tokenizer, self._dense, self._layout = model, tokenizer, dense, layout
        self._max_tokens = min(layout.max_tokens, tokenizer.model_max_length, _num_positions(model.config))
        self._taken = set(inspect.signature(model.forward).parameters)
        self._lock = threading.Lock()  # fast tokenizers refuse to be used by two threads at once

    def texts(self, texts: Sequence[str]) -> Float[np.ndarray, "k d"]:
        """Vectors of texts, at least one, of any length; longer texts than the model reads are cut."""
        given = [text.lower() for text in texts] if self._layout.lower else list(texts)
        with self._lock:
            tokens = self._tokenizer(given, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            hidden = self.model(**{name: tensor for name, tensor in tokens.items() if name in self._taken}).last_hidden_state
            vectors = pooled(hidden.float(), tokens["attention_mask"], self._layout.pooling)
            for layer in self._dense:
                vectors = layer(vectors)
        return vectors.cpu().numpy()


def pooled(hidden: Float[torch.Tensor, "k t d"], mask: Int[torch.Tensor, "k t"], pooling: str) -> Float[torch.Tensor, "k d"]:
    """One vector per text, whichever side is padded; `mask` is 1 where there is a token."""
    rows, weights = torch.arange(len(hidden), device=hidden.device), mask[..., None].to(hidden.dtype)
    if pooling == "cls":
        return hidden[rows, mask.argmax(1)]
    if pooling == "last":
        return hidden[rows, mask.shape[1] - 1 - mask.flip(1).argmax(1)]
    if pooling == "max":
        return hidden.masked_fill(weights == 0, -torch.inf).amax(1)
    return (hidden * weights).sum(1) / weights.sum(1)


def open_sentence(layout: Layout, device: str = "auto") -> SentenceModel:
    """Open what a folder describes. Raises ValueError, OSError or KeyError when it is not whole, or of another kind."""
    from transformers import AutoConfig, AutoTokenizer

    place, folder = choose_device(device), layout.transformer
    if AutoConfig.from_pretrained(folder, local_files_only=True).is_encoder_decoder:
        raise ValueError(f"it is of the kind {layout.family}, which writes texts; expected a sentence encoder, CLIP or SigLIP")
    model, lacking = load_model(folder)
    missing = [key for key in lacking if not key.startswith("pooler.")]  # BERT's own pooler, which is not used here
    if missing:
        raise ValueError(f"it lacks {len(missing)} weights ({missing[0]}, …)")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return SentenceModel(model.to(place).eval(), tokenizer, [_dense(path).to(place).eval() for path in layout.dense], layout)


def _dense(folder: Path) -> Any:
    """A linear layer with its activation, as sentence-transformers saves it."""
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_bytes())
    activation = str(config.get("activation_function", "Identity")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS or not (folder / "model.safetensors").is_file():
        raise ValueError(f"its layer {folder.name} has the activation {activation} and {', '.join(sorted(f.name for f in folder.iterdir()))}; "
                         f"expected one of {', '.join(_ACTIVATIONS)}, and weights in model.safetensors")
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    linear.load_state_dict({name.removeprefix("linear."): tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})
    return torch.nn.Sequential(linear, getattr(torch.nn, activation)())


def _num_positions(config: Any) -> int:
    most = getattr(config, "max_position_embeddings", None) or sys.maxsize
    return most - (config.pad_token_id or 0) - 1 if config.model_type in _OFFSET else most
