"""Tiny Qwen vision-language checkpoints with random weights, in the form in which real ones are published.

A folder holds config, weights, tokenizer, processor and chat template, and is opened by the same calls as a real one.
The tokenizer knows bytes, a few merges and the families' special tokens; the chat templates say what the families'
own templates say about system, user and assistant turns with pictures, and about thinking.
"""

import json
from pathlib import Path

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)
LINES = (
    "The part outlined in red is the handle of a door.", '{"thinking": "", "name": "screw", "synonyms": []}', "Which part is this? A leg.",
)

# Of every message: its start, its pictures and texts in their order, its end. SAID is where the families differ.
TURN = """\
{%- for message in messages %}
{%- if POLITE and loop.first and message.role != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- for part in ([{'type': 'text', 'text': message.content}] if message.content is string else message.content) %}
{%- if part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}{%- else %}SAID{%- endif %}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
"""
PLAIN = "{{- part.text }}"
# Families that think drop the thoughts of earlier answers, and open the next answer with thoughts, or with none if told so.
FORGETFUL = """{{- part.text.split('</think>')[-1].lstrip('\\n') if message.role == 'assistant' else part.text }}"""
ASK = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
ASK_THINKING = """\
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"""


def build_qwen(family: str, folder: Path, seed: int = 0) -> Path:
    """A checkpoint of the family ("qwen2_5_vl", "qwen3_vl", "qwen3_5") in the folder; equal seeds give equal bytes."""
    import torch
    from transformers import AutoModelForImageTextToText, GenerationConfig

    processor = tiny_processor(family)
    ids = processor.tokenizer.convert_tokens_to_ids
    config = tiny_config(family, len(processor.tokenizer), ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # before the weights are made
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=[ids("<|im_end|>"), ids("<|endoftext|>")], pad_token_id=ids("<|endoftext|>"))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def as_first_published(source: Path, folder: Path, tied: bool = False) -> Path:
    """A Qwen2.5-VL checkpoint in the layout of the family's own first files: one flat config, weights under older names.

    With `tied` words are written with the same weights with which they are read, as in the family's small models.
    """
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (folder / file).write_bytes((source / file).read_bytes())
    template = (source / "chat_template.jinja").read_text()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    pixels = {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
    kinds = {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels | kinds))
    config = json.loads((source / "config.json").read_text())
    text = {k: v for k, v in config.pop("text_config").items() if k not in ("model_type", "rope_parameters", "layer_types")}
    rope = {"rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    (folder / "config.json").write_text(json.dumps(text | config | rope | {"tie_word_embeddings": tied}))
    weights = {k.replace("model.language_model.", "model.").replace("model.visual.", "visual."): v
               for k, v in load_file(source / "model.safetensors").items() if not (tied and k == "lm_head.weight")}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def tiny_config(family: str, words: int, ids):
    """The smallest sizes that keep every mechanism: two layers, grouped heads, merged patches, three-axis positions."""
    from transformers import AutoConfig

    text = dict(
        vocab_size=words, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=4096, initializer_range=0.2, bos_token_id=None,
        eos_token_id=ids("<|im_end|>"), pad_token_id=ids("<|endoftext|>"),
    )
    vision = dict(depth=2, hidden_size=32, num_heads=2, intermediate_size=64, out_hidden_size=32, patch_size=16, num_position_embeddings=64)
    rope = dict(rope_type="default", rope_theta=1e6)
    if family == "qwen2_5_vl":
        text |= dict(rope_parameters=rope | dict(mrope_section=[1, 1, 2]))
        vision |= dict(patch_size=14, window_size=112, fullatt_block_indexes=[1])
        del vision["num_position_embeddings"]
    elif family == "qwen3_vl":
        text |= dict(head_dim=8, rope_parameters=rope | dict(mrope_section=[2, 1, 1], mrope_interleaved=True))
        vision |= dict(deepstack_visual_indexes=[0])
    else:
        text |= dict(
            head_dim=16, layer_types=["linear_attention", "full_attention"], linear_key_head_dim=8, linear_value_head_dim=8,
            linear_num_key_heads=2, linear_num_value_heads=2,
            rope_parameters=rope | dict(mrope_section=[4, 2, 2], mrope_interleaved=True, partial_rotary_factor=1.0),
        )
    words_of = dict(image_token="image_pad", video_token="video_pad", vision_start_token="vision_start", vision_end_token="vision_end")
    tokens = {f"{name}_id": ids(f"<|{word}|>") for name, word in words_of.items()}
    return AutoConfig.for_model(family, text_config=text, vision_config=vision, **tokens)


def tiny_processor(family: str):
    """Tokenizer, picture and video processor and chat template of a family, in one."""
    from transformers import (
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    old = family == "qwen2_5_vl"
    sizes = dict(patch_size=14 if old else 16, merge_size=2, temporal_patch_size=2)
    pixels = dict(size={"shortest_edge": 56 * 56, "longest_edge": 512 * 512})
    kind, video = (Qwen2_5_VLProcessor, Qwen2VLVideoProcessor) if old else (Qwen3VLProcessor, Qwen3VLVideoProcessor)
    return kind(
        image_processor=Qwen2VLImageProcessor(**sizes, **pixels), tokenizer=tiny_tokenizer(family), video_processor=video(**sizes),
        chat_template=chat_template(family),
    )


def chat_template(family: str) -> str:
    thinks = family == "qwen3_5"
    turn = TURN.replace("SAID", FORGETFUL if thinks else PLAIN).replace("POLITE", "true" if family == "qwen2_5_vl" else "false")
    return turn + (ASK_THINKING if thinks else ASK)


def tiny_tokenizer(family: str):
    """Bytes, and merges learned from three lines, 300 words with the special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False)
    words.train_from_iterator(LINES, trainer)
    if family == "qwen3_5":
        words.add_tokens(["<think>", "</think>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=list(SPECIALS),
        model_max_length=4096, clean_up_tokenization_spaces=False,
    )
