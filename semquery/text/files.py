"""The files of a checkpoint: where its folder is on this machine, and what tells it from another."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from semquery.devices import first_line

FETCHED = ("*.json", "*.txt", "*.model", "*.safetensors")  # of the files of a repository
LONGEST = 300  # letters of another library's complaint that are passed on; some list every weight
ENDS = 1 << 20  # bytes at each end of a large file that stand for all of it


def find_folder(name: str, download: bool = False) -> Path:
    """A checkpoint's folder, given as such or by its name on the hub. Raises ValueError that says how to get it when it is not here."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise ValueError(f"There is no folder {name}; expected a checkpoint's folder, or a name on the hub like sentence-transformers/all-MiniLM-L6-v2.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=not download, allow_patterns=list(FETCHED)))
    except (OSError, ValueError) as error:  # not in the cache; offline; no such name
        reason = f" and fetching it failed ({first_line(error)[:LONGEST]})" if download else " and nothing is fetched without being asked"
        raise ValueError(f"The checkpoint {name} is not on this machine{reason}. Get it with `hf download {name}`, "
                         "or set download; or give the folder of a checkpoint that you have.") from error


def deciding_files(folders: Iterable[Path]) -> list[Path]:
    """Of a model's folders, the files that decide its vectors: configuration, words and weights in the form that is loaded."""
    named = {"config.json", "modules.json", "tokenizer.json", "vocab.txt", "merges.txt", "preprocessor_config.json"}
    found: set[Path] = set()
    for folder in folders:
        kinds = (".safetensors", ".model") if any(folder.glob("*.safetensors")) else (".bin", ".model")
        found |= {file for file in folder.iterdir() if file.is_file() and (file.name in named or file.suffix in kinds)}
    return sorted(found)


def content_hash(folder: Path, files: Iterable[Path]) -> str:
    """16 letters that are others when a file has another name within the folder, another size, or other bytes at one of its ends.

    Weights differ all over when they differ at all, and a header of safetensors lists them; to read gigabytes would tell no more.
    """
    found = hashlib.sha256()
    for file in sorted(files):
        size = file.stat().st_size
        found.update(f"{file.relative_to(folder).as_posix()} {size}\n".encode())
        with file.open("rb") as opened:
            found.update(opened.read(ENDS))
            opened.seek(max(ENDS, size - ENDS))
            found.update(opened.read(ENDS))
    return found.hexdigest()[:16]
