"""How a folder wants its sentences encoded: what follows the transformer, what is put before a text, how much is read.

Folders of sentence-transformers say so themselves: modules.json lists what a text goes through (Transformer, Pooling, perhaps
Dense, Normalize), 1_Pooling/config.json how the tokens become one vector, config_sentence_transformers.json the prefixes
("prompts") of queries and passages. Where a folder says nothing, the families that were trained otherwise than others
(e5, bge, Qwen3-Embedding) are recognised by their names, which is how their model cards have it; all else is a mean
without prefixes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POOLINGS = ("mean", "cls", "last", "max")
MOST_TOKENS = 512  # queries and labels are phrases; what is longer is cut

_TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
_FAMILIES = (  # what a name holds, prefix of queries, of passages
    (r"e5-.*instruct|e5-mistral", f"{_TASK} ", ""),
    (r"(?<![a-z])e5-(small|base|large)", "query: ", "passage: "),
    (r"(?<![a-z])bge-(small|base|large)-en", "Represent this sentence for searching relevant passages: ", ""),
    (r"(?<![a-z])bge-(small|base|large)-zh", "为这个句子生成表示以用于检索相关文章：", ""),
    (r"qwen3-embedding", _TASK, ""),
)
_CAUSAL = ("qwen2", "qwen3", "mistral", "llama", "gemma", "gemma2")  # only the last token has read the whole text
_SAID = {"mean_tokens": "mean", "mean": "mean", "cls_token": "cls", "cls": "cls", "lasttoken": "last", "max_tokens": "max", "max": "max"}
_WHOLE = re.compile(r"(Transformer( Pooling( Dense)*)?|CLIPModel)( Normalize)*")


@dataclass(frozen=True)
class Layout:
    """What a text goes through."""

    transformer: Path  # folder with config.json, weights and tokenizer
    family: str  # its model_type
    pooling: str
    query_prefix: str
    passage_prefix: str
    max_tokens: int
    lower: bool  # letters are made small before they are read
    dense: tuple[Path, ...]  # folders of the layers after pooling


def layout_of(folder: Path, name: str, pooling: str = "auto") -> Layout:
    """Read a folder that was asked for by `name`; auto: the pooling that it wants. Raises ValueError for no model, or one made in a way not known here."""
    modules = _modules(folder)
    transformer = folder / (modules[0][1] if modules else "")
    config = _record(transformer / "config.json")
    if "model_type" not in config:
        raise ValueError(f"{transformer} holds no model: its config.json is missing or names no model_type. Give the folder of a sentence encoder, of CLIP or of SigLIP.")
    names = " ".join(Path(str(n)).name for n in (name, folder, config.get("_name_or_path", ""))).lower()
    if pooling == "auto":
        pooling = next((_pooling(folder / path) for kind, path in modules if kind == "Pooling"), "") or _guessed_pooling(config, names)
    said, reading = _record(folder / "config_sentence_transformers.json"), _record(transformer / "sentence_bert_config.json")
    query, passage = _prefixes(said, names)
    return Layout(transformer, str(config["model_type"]), pooling, query, passage, min(MOST_TOKENS, reading.get("max_seq_length") or MOST_TOKENS),
                  bool(reading.get("do_lower_case")), tuple(folder / path for kind, path in modules if kind == "Dense"))


def prefixes_of(name: str) -> tuple[str, str]:
    """What a model of this name wants before queries and before passages."""
    return next(((query, passage) for pattern, query, passage in _FAMILIES if re.search(pattern, name.lower())), ("", ""))


def _modules(folder: Path) -> list[tuple[str, str]]:
    """(kind, path) of each module of sentence-transformers; [] where the folder is a plain transformer."""
    listed = _record(folder / "modules.json", [])
    try:
        types, paths = [str(m["type"]) for m in listed], [str(m["path"]) for m in listed]
    except (TypeError, KeyError) as error:
        raise ValueError(f"{folder / 'modules.json'} is no list of modules; expected one with a type and a path each.") from error
    kinds = [kind.rsplit(".", 1)[-1] for kind in types]
    if listed and not (_WHOLE.fullmatch(" ".join(kinds)) and all(kind.startswith("sentence_transformers.") for kind in types)):
        raise ValueError(f"{folder} puts a text through {', '.join(types)}; expected Transformer, Pooling and perhaps Dense and Normalize "
                         "of sentence_transformers, in this order. Serve it by its own software, and use EmbeddingServer.")
    return list(zip(kinds, paths, strict=True))


def _pooling(folder: Path) -> str:
    """mean | cls | last | max, as a Pooling module has it."""
    config = _record(folder / "config.json")
    chosen = [key.removeprefix("pooling_mode_") for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if "pooling_mode" in config:  # newer files
        chosen = [str(config["pooling_mode"])]
    if len(chosen) != 1 or chosen[0] not in _SAID or config.get("include_prompt") is False:
        said = ", ".join(chosen) + (" without the prompt" if config.get("include_prompt") is False else "")
        raise ValueError(f"{folder} wants the pooling {said or 'of nothing'}; expected one of {', '.join(POOLINGS)}. Set one as pooling, or use EmbeddingServer.")
    return _SAID[chosen[0]]


def _guessed_pooling(config: Mapping[str, Any], names: str) -> str:
    if config["model_type"] in _CAUSAL:
        return "last"
    return "cls" if re.search(r"(?<![a-z])bge-", names) else "mean"


def _prefixes(said: Mapping[str, Any], names: str) -> tuple[str, str]:
    """By the folder's own prompts if it has any, else by its name."""
    prompts = {k: v for k, v in (said.get("prompts") or {}).items() if isinstance(v, str)}
    if not any(prompts.values()):
        return prefixes_of(names)
    usual = prompts.get(said.get("default_prompt_name") or "", "")
    return prompts.get("query", usual), next((prompts[k] for k in ("document", "passage", "corpus") if k in prompts), usual)


def _record(path: Path, without: Any = None) -> Any:
    """A JSON file; {} (or `without`) where there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return {} if without is None else without
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}. Get the checkpoint again.") from error
