"""CLIP as open_clip has it: an architecture by name with weights by tag or as a file, or a folder with both.

Texts are cut at the length that the model reads (77 tokens for CLIP). A folder is what the hub's open_clip repositories
hold: open_clip_config.json (architecture and how pictures are prepared) beside the weights.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float32

from semquery.devices import choose_device, first_line
from semquery.text.base import encoded, once
from semquery.text.files import LONGEST, content_hash
from semquery.vlm.dual import picture_of

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # of a folder or repository, the better first
PREPARING = ("mean", "std", "interpolation", "resize_mode")  # of what a configuration says about pictures
VOCABULARY = 49408  # words of CLIP's tokenizer


class Source(NamedTuple):
    """What is opened."""

    architecture: dict[str, Any]
    weights: Path
    preparing: dict[str, Any]  # mean, std, interpolation, resize_mode of pictures, where they are known


@dataclass(frozen=True)
class OpenClip:
    """CLIP by open_clip, for texts and pictures; nothing is fetched unasked."""

    model: str = "ViT-B-16"
    """Architecture, as open_clip calls it, or a folder with open_clip_config.json and weights."""
    pretrained: str = "laion2b_s34b_b88k"
    """Weights: open_clip's tag for them, or a file (.pt, .bin, .safetensors); unused where the model is a folder."""
    download: bool = False
    """Fetch the weights if they are not on this machine."""
    device: str = "auto"
    """Torch device; auto: cuda, mps or cpu, the first there is."""
    batch: int = 64
    """Texts or pictures that go through the model at once."""

    kind: ClassVar[str] = "clip"

    def __post_init__(self) -> None:
        if not self.model.strip() or self.batch < 1:
            raise ValueError(f"Expected a model and a batch ≥ 1; got {self.model!r} and {self.batch}.")

    @once
    def identity(self) -> str:
        _, weights, preparing = source = self._source
        return f"OpenClip {json.dumps(source.architecture, sort_keys=True)} {json.dumps(preparing, sort_keys=True)} {content_hash(weights.parent, [weights])}"

    def check(self) -> str:
        width = self.queries(["a"]).shape[1]
        return f"{type(self._opened[0]).__name__} {self.model} with {self._source.weights.name} on {self._place}: {width} numbers, texts and pictures"

    def queries(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        model, _, tokenizer = self._opened
        return encoded(texts, lambda some: _numbers(model.encode_text, tokenizer(list(some)).to(self._place)), "", self.batch)

    def passages(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return self.queries(texts)

    def pictures(self, pngs: Sequence[bytes]) -> Float32[np.ndarray, "k d"]:
        import torch

        model, prepare, _ = self._opened
        batches = (pngs[start : start + self.batch] for start in range(0, len(pngs), self.batch))
        found = [_numbers(model.encode_image, torch.stack([prepare(picture_of(png)) for png in some]).to(self._place)) for some in batches]
        return np.concatenate([self.queries([]), *found])

    @once
    def _source(self) -> Source:
        return _source_in(Path(self.model).expanduser()) if Path(self.model).expanduser().is_dir() else _source_of(self.model, self.pretrained, self.download)

    @once
    def _place(self) -> Any:
        return choose_device(self.device)

    @once
    def _opened(self) -> tuple[Any, Any, Any]:
        """Model, what prepares a picture, tokenizer."""
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        source, place = self._source, self._place
        architecture = dict(source.architecture)
        kind = open_clip.CustomTextCLIP if architecture.pop("custom_text", False) else open_clip.CLIP
        words = architecture["text_cfg"]
        try:
            model = kind(**architecture)
            open_clip.load_checkpoint(model, str(source.weights))
        except Exception as error:  # whatever unpickling and building raise of a file that is something else
            raise ValueError(f"{source.weights} cannot be opened as weights of {self.model}: {first_line(error)[:LONGEST]}. "
                             "Give weights of this architecture, or the architecture of these weights.") from error
        prepare = image_transform_v2(PreprocessCfg(size=model.visual.image_size, **source.preparing), is_train=False)
        return model.to(place).eval(), prepare, open_clip.SimpleTokenizer(context_length=words.get("context_length", 77), **words.get("tokenizer_kwargs", {}))


def _numbers(embed: Any, given: Any) -> Float32[np.ndarray, "k d"]:
    import torch

    with torch.inference_mode():
        return embed(given, normalize=True).float().cpu().numpy()


def _source_in(folder: Path) -> Source:
    """What a folder holds. Raises ValueError."""
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    try:
        config = json.loads((folder / "open_clip_config.json").read_bytes())
        architecture, preparing = dict(config["model_cfg"]), dict(config.get("preprocess_cfg") or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no open_clip_config.json that can be read ({first_line(error)}). "
                         "Give a folder of open_clip's; one of transformers' is opened by HfText.") from error
    if weights is None:
        raise ValueError(f"{folder} holds no weights; expected {' or '.join(WEIGHTS)}.")
    _check(architecture)
    return Source(architecture, weights, {key: preparing[key] for key in PREPARING if preparing.get(key)})


def _source_of(model: str, pretrained: str, download: bool) -> Source:
    """An architecture by name with weights by tag or as a file. Raises ValueError."""
    import open_clip

    architecture, tags = open_clip.get_model_config(model), open_clip.list_pretrained_tags_by_model(model)
    if architecture is None:
        raise ValueError(f"open_clip knows no architecture {model!r}, and there is no such folder; expected a name like ViT-B-16 or ViT-L-14.")
    _check(architecture)
    file = Path(pretrained).expanduser()
    if file.is_file():
        return Source(architecture, file, {})
    if pretrained not in tags:
        raise ValueError(f"There are no weights {pretrained!r} for {model}: no such file, and open_clip's tags are {', '.join(tags) or 'none'}.")
    config = open_clip.pretrained.get_pretrained_cfg(model, pretrained)
    weights = _cached(config) or (_fetched(config, model, pretrained) if download else None)
    if weights is None:
        repository = config.get("hf_hub", "").rpartition("/")[0]
        how = f"`hf download {repository}`" if repository else f"`python -c \"import open_clip; open_clip.create_model('{model}', '{pretrained}')\"`"
        raise ValueError(f"The weights {pretrained} of {model} are not on this machine, and nothing is fetched without being asked. "
                         f"Get them with {how}, or set download; or give a file of weights that you have.")
    if config.get("quick_gelu"):
        architecture["quick_gelu"] = True
    return Source(architecture, weights, {key: config[key] for key in PREPARING if config.get(key)})


def _check(architecture: dict[str, Any]) -> None:
    """Refuse what reads texts with another checkpoint's tokenizer, which would have to come over the network, or writes them."""
    words = architecture.get("text_cfg", {})
    if "multimodal_cfg" in architecture or words.get("hf_tokenizer_name") or words.get("vocab_size", VOCABULARY) != VOCABULARY:
        raise ValueError("This architecture does not read with CLIP's own tokenizer, or is no CLIP; expected one like ViT-B-16. "
                         "Checkpoints of transformers (SigLIP too) are opened by HfText.")


def _cached(config: dict[str, Any]) -> Path | None:
    """Weights of a tag that were fetched before, by whichever way."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, name = config.get("hf_hub", "").rpartition("/")
    found = [try_to_load_from_cache(repository, file) for file in ((name,) if name else WEIGHTS)] if repository else []
    fetched = Path("~/.cache/clip").expanduser() / os.path.basename(config.get("url", ""))
    return next((Path(file) for file in [*found, fetched] if isinstance(file, str | Path) and Path(file).is_file()), None)


def _fetched(config: dict[str, Any], model: str, pretrained: str) -> Path:
    import open_clip

    try:
        return Path(open_clip.pretrained.download_pretrained(config))
    except Exception as error:  # the hub's, the network's and open_clip's own errors have no class in common
        raise ValueError(f"The weights {pretrained} of {model} could not be fetched: {first_line(error)[:LONGEST]}.") from error

