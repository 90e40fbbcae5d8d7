"""What the records of an evaluation depend on, and who answered: written beside them, so that no two settings mix.

Conventions
  How fast, where and how much is drawn to score changes no record: out, data (its objects have hashes), workers, ray, domain,
  bootstrap, overwrite, and the methods, which are added one by one. Models are named by what decides their answers.
  A model that no asked method needs is null, and agrees with any.
"""

import dataclasses
import json
import platform
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics.resampling import mean_of, pooled_interval
from eval.partnet.config import PartnetConfig
from eval.partnet.numbers.pooling import span
from eval.partnet.numbers.scoring import VERSION
from eval.partnet.work.clearing import WRITTEN, clear
from eval.partnet.work.kept import folder_of
from semquery.manifest import as_config, atomic

FORMAT = 1  # raised when records made by another version may differ
APART = ("data", "out", "methods", "workers", "ray", "domain", "bootstrap", "overwrite", "predicted", "vlm", "encoder", "picture_encoder")
PACKAGES = ("semquery", "numpy", "scipy", "trimesh", "embreex", "pillow", "torch", "transformers", "open_clip_torch", "ray")
MOST_TOLD = 5


def settings_of(config: PartnetConfig) -> dict[str, Any]:
    """Everything that changes a record, as JSON has it."""
    fields = {f.name: as_config(getattr(config, f.name)) for f in dataclasses.fields(config) if f.name not in APART}
    return json.loads(json.dumps({"format": FORMAT, **fields, "models": identities(config), "prompts": prompts()}))


def identities(config: PartnetConfig) -> dict[str, str | None]:
    """What decides the answers of each model; null for those that no asked method uses. Raises ValueError where one cannot be opened."""
    from eval.partnet.methods.backends import ASKING, LOOKING, SPELLING, backends_for

    backends, asked = backends_for(config), set(config.methods)
    found = config.predicted != "no"  # its parts are named and asked for too
    return {
        "vlm": backends.vlm.identity if found or asked & set(ASKING) else None,
        "encoder": backends.encoder.identity if found or asked & set(SPELLING) else None,
        "picture_encoder": backends.picture_encoder.identity if backends.picture_encoder is not None and asked & set(LOOKING) else None,
    }


def prompts() -> dict[str, str]:
    """sha256 of every prompt and word list that a request may be made of, by name."""
    import semquery

    package = Path(semquery.__file__ or "").parent
    product = next((folder for folder in (package.parent / "prompts", package / "_prompts") if folder.is_dir()), package)
    own = Path(__file__).parents[1] / "prompts"
    files = {**{path.name: path for path in product.glob("*.*")}, **{f"partnet/{path.name}": path for path in own.glob("*.*")}}
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items()) if path.is_file()}


def versions() -> dict[str, str]:
    """Of Python and of the packages that have a hand in the numbers, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def about(config: PartnetConfig, trees: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The part of results.json that says with what everything was made."""
    settings, sample = (json.loads((config.out / name).read_text(encoding="utf-8")) for name in ("settings.json", "sample.json"))
    return {
        "version": VERSION, "config": as_config(config), "settings": settings, "versions": versions(), "prompts": settings["prompts"],
        "models": settings["models"], "sample": sample, "predicted": means_of(config, trees) if trees else None,
    }


def means_of(config: PartnetConfig, trees: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Found trees: every number of each, and its mean over objects with an interval."""
    first = next(iter(trees.values()))
    names = [name for name, value in first.items() if isinstance(value, (int, float, type(None))) and not isinstance(value, bool)]

    def mean(name: str) -> dict[str, float]:
        values = np.array([np.nan if found.get(name) is None else found[name] for found in trees.values()], float)
        return span(pooled_interval(values, mean_of, config.bootstrap, config.seed))
    return {"kind": config.predicted, "objects": trees, "means": {name: mean(name) for name in names}}


def in_process(config: PartnetConfig) -> bool:
    """Whether a model runs where the methods run, and a GPU would help."""
    from semquery.text import HfText, OpenClip
    from semquery.vlm import QwenVl

    return any(isinstance(model, (QwenVl, OpenClip, HfText)) for model in (config.vlm, config.encoder, config.picture_encoder))


def keep_settings(config: PartnetConfig) -> None:
    """Note the settings in OUT, made if it is not there; clear it first with --overwrite.

    Raises ValueError that names what differs where OUT holds records of other settings, and where what it holds may be of others.
    """
    path = config.out / "settings.json"
    check_own(config.out)
    if config.overwrite or not folder_of(config.out).is_dir():  # without a record nothing is bound to settings
        clear(config.out)
    now = settings_of(config)
    if path.exists() and folder_of(config.out).is_dir() and not config.overwrite:
        was = read_settings(path)
        if differing := differences(was, now):
            more = f"; and {len(differing) - MOST_TOLD} more" if len(differing) > MOST_TOLD else ""
            raise ValueError(f"{config.out} holds records of other settings ({'; '.join(differing[:MOST_TOLD])}{more}). "
                             "Give --overwrite to start anew, or another --out.")
        now["models"] = {name: now["models"][name] or was["models"].get(name) for name in now["models"]}
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def check_own(out: Path) -> None:
    """Raise ValueError where OUT holds something called as what the evaluation writes, and no settings that say it wrote that."""
    if (out / "settings.json").exists():
        read_settings(out / "settings.json")
    elif foreign := [name for name in WRITTEN if (out / name).exists()]:
        raise ValueError(f"{out} holds {foreign[0]} and no settings.json, so that another program may have written it; give another --out.")


def read_settings(path: Path) -> dict[str, Any]:
    """What keep_settings wrote. Raises ValueError where it is damaged, or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["models"], dict) and isinstance(found["prompts"], dict):
            return found
        raise TypeError("models or prompts are no object")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged, or of another program ({type(error).__name__}: {error}); give another --out.") from None


def differences(was: Any, now: Any, name: str = "") -> list[str]:
    """Every field that differs, as name: was → now."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        keys = sorted({*was, *now})
        return [line for key in keys for line in differences(was.get(key), now.get(key), f"{name}.{key}" if name else key)]
    if was == now or (name.startswith("models.") and None in (was, now)):
        return []
    return [f"{name}: {_short(was)} → {_short(now)}"]


def _short(value: Any, most: int = 60) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}…"
