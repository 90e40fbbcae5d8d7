"""Tiny checkpoints with random weights of the encoders of texts and pictures, in the layout in which real ones are published."""

import json
from pathlib import Path

import numpy as np
import torch

SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SENTENCE = "sentence_transformers.models"
QWEN_PROMPT = "Instruct: find what is meant\nQuery:"
OPEN_CLIP = {  # the words of CLIP's tokenizer must all be there
    "embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def write_tokenizer(folder: Path, begins: bool = True, padding_side: str = "right", max_length: int | None = None) -> None:
    """A tokenizer that knows bytes; a text is ended, and begun if wanted, by tokens of their own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: k for k, c in enumerate(["<unk>", "<pad>", "<s>", "</s>", *alphabet])}
    raw = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    ends = [("<s>", 2), ("</s>", 3)]
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>" if begins else "$A </s>", special_tokens=ends if begins else ends[1:])
    limit = {} if max_length is None else {"model_max_length": max_length}
    PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
                            padding_side=padding_side, **limit).save_pretrained(folder)


def build_sentence(family: str, folder: Path, seed: int = 0) -> Path:
    """minilm (mean), e5 (mean, a folder that tells no prefixes), bge (first token), qwen (last token, prompts, padded on the left), dense, plain."""
    from transformers import BertConfig, BertModel, Qwen3Config, Qwen3Model

    torch.manual_seed(seed)
    if family == "qwen":
        model = Qwen3Model(Qwen3Config(**SIZE, vocab_size=260, head_dim=16, num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.2))
    else:
        model = BertModel(BertConfig(**SIZE, vocab_size=260, max_position_embeddings=64, initializer_range=0.2), add_pooling_layer=False)
    model.save_pretrained(folder)
    write_tokenizer(folder, begins=family != "qwen", padding_side="left" if family == "qwen" else "right", max_length=64)
    if family != "plain":
        write_modules(folder, {"bge": "cls_token", "qwen": "lasttoken"}.get(family, "mean_tokens"), dense=family == "dense")
    if family == "qwen":
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": QWEN_PROMPT, "document": ""}}))
    return folder


def write_modules(folder: Path, pooling: str, dense: bool = False) -> None:
    """What sentence-transformers writes beside a transformer."""
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    paths = [""] + [f"{k}_{kind}" for k, kind in enumerate(kinds) if k]
    (folder / "modules.json").write_text(json.dumps([{"idx": k, "name": str(k), "path": path, "type": f"{SENTENCE}.{kind}"}
                                                     for k, (kind, path) in enumerate(zip(kinds, paths, strict=True))]))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 48, "do_lower_case": False}))
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    if dense:
        from safetensors.torch import save_file

        (folder / "2_Dense").mkdir()
        (folder / "2_Dense" / "config.json").write_text(json.dumps(
            {"in_features": 32, "out_features": 12, "bias": True, "activation_function": "torch.nn.modules.activation.Tanh"}))
        save_file({"linear.weight": torch.randn(12, 32), "linear.bias": torch.randn(12)}, folder / "2_Dense" / "model.safetensors")


def build_dual(family: str, folder: Path, seed: int = 0) -> Path:
    """clip | siglip | siglip2, each with its tokenizer and its processor of pictures."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        Siglip2Config,
        Siglip2Model,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
    )
    from transformers.models.siglip2 import Siglip2ImageProcessor

    text = SIZE | {"vocab_size": 260, "max_position_embeddings": 48, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1}
    vision = SIZE | {"image_size": 32, "patch_size": 8}
    torch.manual_seed(seed)
    if family == "clip":
        model, images = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)), CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    elif family == "siglip":
        model, images = SiglipModel(SiglipConfig(text_config=text | {"projection_size": 32}, vision_config=vision)), SiglipImageProcessor(size={"height": 32, "width": 32})
    else:
        patches = SIZE | {"patch_size": 8, "num_patches": 16}
        model = Siglip2Model(Siglip2Config(text_config=text | {"projection_size": 32}, vision_config=patches))
        images = Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    model.save_pretrained(folder)
    images.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def build_open_clip(folder: Path, seed: int = 0) -> Path:
    """A folder as the hub's open_clip repositories are: configuration and weights."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    preparing = {"size": 32, "mode": "RGB", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP, "preprocess_cfg": preparing}))
    save_file({name: tensor.contiguous() for name, tensor in open_clip.CLIP(**OPEN_CLIP).state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def png(color: tuple[int, ...], size: tuple[int, int] = (40, 50)) -> bytes:
    """A picture with a gradient, so that where it is cut matters."""
    import io

    from PIL import Image

    ramp = np.linspace(0, 1, size[0])[:, None, None] * np.linspace(0.3, 1, size[1])[None, :, None]
    pixels = (ramp * np.array(color[:3])).astype(np.uint8)
    if len(color) == 4:
        pixels = np.concatenate([pixels, np.full((*size, 1), color[3], np.uint8)], axis=2)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
