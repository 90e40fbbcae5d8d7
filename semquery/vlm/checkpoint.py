"""Vision-language checkpoints: found on this machine, fetched only when asked for, opened for one device.

A checkpoint is a folder (config.json, weights as safetensors, tokenizer, processor) or a name on the Hugging Face
hub, which stands for such a folder in the local cache. Everything is opened from the folder, so that opening never
reaches for the network.
"""

import hashlib
import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semquery.devices import choose_device, first_line

SIZES = {"Qwen/Qwen2.5-VL-3B-Instruct": 7.5, "Qwen/Qwen2.5-VL-7B-Instruct": 16.6, "Qwen/Qwen2.5-VL-72B-Instruct": 147.0}  # GB
FAMILIES = "Qwen2.5-VL, Qwen3-VL, Qwen3.5 or a checkpoint built like them"
NEEDED = ("*.json", "*.jinja", "*.txt", "*.safetensors")  # of the files of a repository


@dataclass(frozen=True)
class Opened:
    """A model ready to be asked, and what turns words and pictures into its input."""

    model: Any
    processor: Any
    attention: str

    def in_words(self) -> str:
        count = sum(p.numel() for p in self.model.parameters())
        size = f"{count / 1e9:.1f} billion" if count >= 5e7 else f"{count:,}"
        dtype = str(self.model.dtype).removeprefix("torch.")
        return f"{type(self.model).__name__}, {size} parameters in {dtype} on {device_name(self.model.device)}, attention {self.attention}"


def find_checkpoint(name: str, download: bool = False) -> Path:
    """The folder of a checkpoint. Raises ValueError that says how to get it when it is not here."""
    if Path(name).expanduser().is_dir():
        return checked_folder(Path(name).expanduser())
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise ValueError(f"There is no folder {name}; expected a checkpoint's folder, or a name on the hub like {next(iter(SIZES))}.")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=not download, allow_patterns=list(NEEDED)))
    except (OSError, ValueError) as error:  # not in the cache; offline; no such name
        raise ValueError(how_to_get(name, first_line(error) if download else "")) from error
    return checked_folder(folder, f"Get the rest with `hf download {name}`, or set download (--vlm.download)")


def checked_folder(folder: Path, remedy: str = "Download it again") -> Path:
    """The folder, if it holds what a checkpoint needs. Raises ValueError that tells what it holds instead, or lacks."""
    check_family(folder)
    wanted = {
        "config.json": ("config.json",), "weights (*.safetensors)": ("*.safetensors",), "tokenizer": ("tokenizer.json", "vocab.json"),
        "picture processor": ("processor_config.json", "preprocessor_config.json"),
    }
    missing = [what for what, patterns in wanted.items() if not any(any(folder.glob(p)) for p in patterns)]
    if missing:
        raise ValueError(f"{folder} is not a whole checkpoint: it has no {', no '.join(missing)}. {remedy}.")
    return folder


def check_family(folder: Path) -> None:
    """Raise when config.json names a kind of model that reads no pictures with words; what names none is left to what follows."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as READS_PICTURES

    try:
        family = str(json.loads((folder / "config.json").read_bytes())["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if family not in READS_PICTURES:
        raise ValueError(f"{folder} is a {family!r} checkpoint; expected {FAMILIES}.")


def how_to_get(name: str, why: str = "") -> str:
    reason = f" and fetching it failed ({why})" if why else " and nothing is fetched without being asked"
    return (
        f"The checkpoint {name} is not on this machine{reason}. It is {size_of(name)} large. Get it with `hf download {name}`, "
        "or set download (--vlm.download); or give the folder of a checkpoint that you have."
    )


def size_of(name: str) -> str:
    """How large a download is: known, or estimated from the billions in the name at two bytes a parameter."""
    billions = re.search(r"(\d+(?:\.\d+)?)B(?![a-z])", name)
    if name in SIZES:
        return f"{SIZES[name]:g} GB"
    return f"about {2.2 * float(billions[1]):.0f} GB" if billions else "probably several GB"


def fingerprint(name: str) -> str:
    """What a checkpoint is, wherever it lies: the hub's name; of a folder, its name, its configuration and the size of its weights."""
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        return name
    weights = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    return f"{folder.resolve().name} {hashlib.sha256((folder / 'config.json').read_bytes()).hexdigest()[:16]} {weights}"


def choose_dtype(wanted: str, device: Any) -> Any:
    """A number format by name, or the one that the device computes fast and without overflow."""
    import torch

    if wanted != "auto":
        return getattr(torch, wanted)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def choose_attention(wanted: str, device: Any, dtype: Any) -> str:
    """An attention kernel by name, or the fastest that is installed; asking for one that is not falls back to torch's own."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    if wanted not in ("auto", "flash_attention_2"):
        return wanted
    usable = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16) and is_flash_attn_2_available()
    return "flash_attention_2" if usable else "sdpa"


def open_checkpoint(folder: Path, device: str = "auto", dtype: str = "auto", attention: str = "auto") -> Opened:
    """Model and processor from a folder. Raises ValueError when it is of another kind, incomplete, or too large for the device."""
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    kernel = choose_attention(attention, place, kind)
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model, found = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=kind, attn_implementation=kernel, local_files_only=True, output_loading_info=True)
    except (SafetensorError, EOFError) as error:
        raise ValueError(
            f"{folder} cannot be read: its weights are incomplete or broken ({first_line(error)}). Download it again."
        ) from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ValueError(f"{folder} cannot be opened as a vision-language model: {first_line(error)}.") from error
    check_kind(model, folder)
    check_complete(found, folder)
    return Opened(placed(model, place).eval(), processor, kernel)


def placed(model: Any, device: Any) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # out of memory; torch built without this device
        size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
        raise ValueError(
            f"The model's weights ({size:.1f} GB) do not go to {device}: {first_line(error)}. "
            "Take a smaller checkpoint, another device, or a server (OpenAiServer) on a larger machine."
        ) from error


def check_kind(model: Any, folder: Path) -> None:
    if not hasattr(getattr(model, "model", None), "get_rope_index") or not hasattr(model.config, "image_token_id"):
        raise ValueError(
            f"{folder} holds a {type(model).__name__}; expected {FAMILIES}. "
            "Ask other models through a server (OpenAiServer)."
        )
    if "mm_token_type_ids" not in inspect.signature(model.model.get_rope_index).parameters:
        raise ValueError("Qwen in this process needs transformers 5 or newer; what is installed is older (pip install -U transformers).")


def check_complete(found: Any, folder: Path) -> None:
    """Weights that a file lacks would be made up at random, with no more than a warning."""
    lacking = sorted(str(key) for key in [*found["missing_keys"], *found.get("mismatched_keys", [])])
    if lacking:
        raise ValueError(f"{folder} lacks {len(lacking)} of the model's weights ({lacking[0]}, …). Download it again.")


def device_name(device: Any) -> str:
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else f"the {str(device).upper()}"
