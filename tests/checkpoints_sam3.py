"""A tiny checkpoint of the text-prompted SAM3 with random weights: the real files, opened by the real code.

Random weights believe in nothing: ask with a threshold of 0 to get instances at all.
"""

import json
from pathlib import Path

SIDE = 56  # of the square that the model sees
ENDS = ("<|startoftext|>", "<|endoftext|>")


def write_sam3(folder: Path) -> Path:
    """The same every time."""
    import torch
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    parts = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    vision = {
        "backbone_config": {"model_type": "sam3_vit_model", "image_size": SIDE, "patch_size": 14, "pretrain_image_size": 28, "hidden_size": 32,
                            "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "window_size": 2, "global_attn_indexes": [1]},
        "fpn_hidden_size": 16, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    text = {"vocab_size": 514, "hidden_size": 32, "intermediate_size": 64, "projection_dim": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 32, "bos_token_id": 512, "eos_token_id": 513}
    config = Sam3Config(
        vision_config=vision, text_config={"model_type": "clip_text_model", **text}, geometry_encoder_config={**parts, "num_layers": 1},
        detr_encoder_config={**parts, "num_layers": 1}, detr_decoder_config={**parts, "num_layers": 2, "num_queries": 5},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = Sam3Model(config)
        for weights in model.parameters():  # as they are made, pictures and words hardly matter
            weights.data.add_(torch.randn_like(weights) * 0.1)
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    Sam3Processor(Sam3ImageProcessor(size=size), write_words(folder)).save_pretrained(folder)
    return folder


def write_words(folder: Path):
    """A tokenizer of CLIP's kind that knows bytes."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), *ENDS]
    (folder / "vocab.json").write_text(json.dumps({name: k for k, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
