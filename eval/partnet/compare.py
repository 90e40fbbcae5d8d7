"""Two evaluations of the same objects, side by side: by how much the second is better, and how sure that is.

    python -m eval compare A B                      every method that both have: B less A
    python -m eval compare A B --methods cot flat   A's cot against B's flat; A and B may be the same folder

Conventions
  Differences are the second less the first, on the same draws of objects, with 95 % bootstrap intervals (see `paired`). A and B
  are folders of `python -m eval partnet`, or their results.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from eval.partnet.numbers.paired import compared, side_of
from eval.partnet.page.markup import counted
from eval.partnet.page.results import Results, at, curve, read_results
from eval.report import markdown
from semquery.manifest import atomic

Differing = tuple[str, Any, Any]  # a setting, in A, in B
SPEED = ("class", "data", "out", "methods", "workers", "ray", "bootstrap", "overwrite")  # settings that say nothing of the numbers
STAR = "* the interval, 95 % over objects, does not hold 0: the difference is more than the choice of objects would give by chance"
DIGITS = 6  # below, a difference is the noise of adding up
CHANGES_QUESTIONS = ("tree", "domain", "absent", "seed", "temperature", "num_objects", "stratified")


@dataclass(frozen=True)
class CompareConfig:
    """Two evaluations of the same objects: paired differences with intervals."""

    a: Annotated[Path, tyro.conf.Positional]
    """Folder of the first evaluation, or its results.json."""
    b: Annotated[Path, tyro.conf.Positional]
    """Folder of the second."""
    methods: tuple[str, ...] = ()
    """Two names: the first of A against the second of B. By default every method that both have."""
    out: Path | None = None
    """Folder for compare.json and compare.png; by default partnet-compare/A-vs-B, after the folders' names and --methods."""
    bootstrap: int = 2000
    """Draws of objects behind every interval."""
    seed: int = 0
    """Of the draws, and of the halves for thresholds that are chosen elsewhere."""

    def __post_init__(self) -> None:
        if len(self.methods) not in (0, 2):
            raise ValueError(f"--methods names {len(self.methods)} methods; give two, the first of A and the second of B, or none.")
        if self.bootstrap < 1:
            raise ValueError(f"--bootstrap is {self.bootstrap}; give 1 or more.")
        if self.out is None:
            object.__setattr__(self, "out", default_out(self.a, self.b, self.methods))


def run_compare(config: CompareConfig) -> dict[str, Any]:
    """Compare, print the table, write compare.json and compare.png to OUT; what compare.json holds.

    Raises ValueError where a results.json cannot be read, where the two share no object or no method, or where objects of
    one name are not the same.
    """
    a, b = read_results(config.a), read_results(config.b)
    common = common_objects(a, b)
    check_same_truth(a, b, common)
    differing = different_settings(a, b)
    pairs, thresholds = method_pairs(a, b, config.methods), curve(a["thresholds"])
    found = {}
    for x, y in pairs:
        sides = side_of(a, x, common), side_of(b, y, common)
        found[x if x == y else f"{x} → {y}"] = compared(*sides, thresholds, config.bootstrap, config.seed)
    told = {
        "version": 1, "a": str(config.a), "b": str(config.b), "objects": common, "only_a": len(a["objects"]) - len(common),
        "only_b": len(b["objects"]) - len(common), "settings": [list(entry) for entry in differing], "bootstrap": config.bootstrap,
        "seed": config.seed, "methods": found,
    }
    print(_text(told))
    assert config.out is not None, "__post_init__ has set it"
    other = _write(config.out, told)
    print(f"{config.out / 'compare.json'}, {config.out / 'compare.png'}" + (f" (in place of {other}, which was there)" if other else ""))
    return told


def default_out(a: Path, b: Path, methods: Sequence[str] = ()) -> Path:
    """partnet-compare/A-vs-B after the two folders, each with its method where two are named."""
    folders = [path.resolve().parent if path.is_file() else path.resolve() for path in (a, b)]
    sides = [folder.name for folder in folders]
    if methods:
        sides = [f"{side}-{method}" for side, method in zip(sides, methods, strict=True)]
    return Path("partnet-compare") / "-vs-".join(sides)


# ------------------------------------------------------------------ what is compared


def common_objects(a: Results, b: Results) -> list[str]:
    """Ids that both evaluations have measured, in A's order. Raises ValueError where there is none."""
    ids = [[entry["id"] for entry in results["objects"]] for results in (a, b)]
    if common := [id for id in ids[0] if id in set(ids[1])]:
        return common
    raise ValueError(
        f"The two evaluations have no object in common: A has {len(ids[0])} ({', '.join(ids[0][:3])} …), B has {len(ids[1])} "
        f"({', '.join(ids[1][:3])} …); evaluate both with the same --data, --seed and --num-objects.")


def check_same_truth(a: Results, b: Results, common: Sequence[str]) -> None:
    """Raises ValueError where thresholds differ, or an object is not the same in both: other files, or other nodes of the same tree."""
    if a["thresholds"] != b["thresholds"]:
        counts = len(a["thresholds"]), len(b["thresholds"])
        raise ValueError(f"A was measured at {counts[0]} thresholds and B at {counts[1]} others; evaluate both with one program.")
    hashes = hashes_of(a), hashes_of(b)
    changed = [id for id in common if id in hashes[0] and id in hashes[1] and hashes[0][id] != hashes[1][id]]
    if not changed and at(a, "config", "tree") == at(b, "config", "tree"):
        shapes = [{entry["id"]: (entry["nodes"], entry["queries"]) for entry in results["objects"]} for results in (a, b)]
        changed = [id for id in common if shapes[0][id] != shapes[1][id]]
    if changed:
        raise ValueError(
            f"{len(changed)} of {len(common)} common objects are not the same in A and B ({', '.join(changed[:3])}): "
            "their files have changed in between; evaluate both on the same data.")


def hashes_of(results: Results) -> dict[str, Any]:
    """Object → hash of its files, as the sample has it."""
    return {str(entry["id"]): entry.get("sha256") for entry in at(results, "sample", "objects") or () if entry.get("sha256")}


def different_settings(a: Results, b: Results) -> list[Differing]:
    """Settings that differ, but for those that say nothing of the numbers; those that change what is asked first."""
    one, other = ({**results["config"], "models": results.get("models"), "prompts": results.get("prompts")} for results in (a, b))
    differing = [(key, one.get(key), other.get(key)) for key in {**one, **other} if key not in SPEED and one.get(key) != other.get(key)]
    return sorted(differing, key=lambda entry: entry[0] not in CHANGES_QUESTIONS)


def method_pairs(a: Results, b: Results, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Which method of A is compared with which of B. Raises ValueError where a named one is missing, or none is in both."""
    if methods:
        for name, results, side in zip(methods, (a, b), "AB", strict=True):
            if name not in results["methods"]:
                raise ValueError(f"{side} has no method {name!r}; it has {', '.join(results['methods'])}.")
        return [(methods[0], methods[1])]
    if both := [(name, name) for name in a["methods"] if name in b["methods"]]:
        return both
    has = [", ".join(results["methods"]) for results in (a, b)]
    raise ValueError(f"No method is in both: A has {has[0]}, B has {has[1]}; name one of each with --methods.")


# ------------------------------------------------------------------ what is told


def _text(told: Mapping[str, Any]) -> str:
    """The table, with what differs above it."""
    alone = f"{told['only_a']} only in A, {told['only_b']} only in B"
    lines = [f"A = {told['a']}, B = {told['b']}: {counted(len(told['objects']), 'common object')} ({alone})"]
    for key, one, other in told["settings"]:
        asks = key in CHANGES_QUESTIONS
        line = f"{key.replace('_', '-')} is {_less(one, other)} in A and {_less(other, one)} in B"
        lines.append(f"warning: {line}; what is asked differs, and not the methods alone" if asks else f"note: {line}")
    rows = [["method", "measure", "A", "B", "B − A, at each t* [95 %]", "t* sought anew", "t from the other half"]]
    for method, entry in told["methods"].items():
        for key, title in (("iou", "mIoU"), ("f1", "F1")):
            peaks = [_at_peak(entry[key][side]) for side in "ab"]
            rows.append([method, title, *peaks, *(_gain(entry[key][way]) for way in ("fixed", "remaximised", "cross_fitted"))])
        for key, title in (("average_precision", "mAP"), ("top1", "top-1"), ("propagation", "propagation"), ("auroc", "AUROC")):
            rows.append([method, title, _told(entry[key]["a"]), _told(entry[key]["b"]), _gain(entry[key]["gain"]), "", ""])
    return "\n".join([*lines, "", markdown(rows), "", STAR])


def _told(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _at_peak(peak: Mapping[str, float | None] | None) -> str:
    return "–" if peak is None or peak["peak"] is None else f"{peak['peak']:.3f} at {peak['at']:.2f}"


def _gain(span: Mapping[str, float | None] | None) -> str:
    """+0.031 [+0.012, +0.050]*"""
    if span is None or span["value"] is None:
        return "–"
    middle, low, high = (None if span[end] is None else round(span[end], DIGITS) + 0.0 for end in ("value", "low", "high"))
    if low is None or high is None:
        return f"{middle:+.3f}"
    return f"{_signed(middle)} [{_signed(low)}, {_signed(high)}]" + ("*" if low > 0 or high < 0 else "")


def _signed(value: float) -> str:
    """+0.031; of a number that would read as 0 and is not, as many digits as tell it from 0."""
    digits = next((digits for digits in range(3, DIGITS) if round(value, digits)), DIGITS if value else 3)
    return f"{value:+.{digits}f}"


def _less(value: object, other: object) -> str:
    """A setting as short text; of one with fields only those that the other has not so."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {key: inner for key, inner in value.items() if inner != other.get(key)}
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 70 else text[:67] + "…"


def _write(out: Path, told: Mapping[str, Any]) -> str:
    """Write both files; what other comparison they replace, or nothing."""
    from eval.partnet.page.figures import differences_figure, saved

    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; --out is a folder, made if it is not there.")
    out.mkdir(parents=True, exist_ok=True)
    replaced = _other_comparison(out / "compare.json", told)
    with atomic(out / "compare.json") as temporary:
        temporary.write_text(json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    shown = {method: [value for value in entry["per_object"] if value is not None] for method, entry in told["methods"].items()}
    shown = {method: values for method, values in shown.items() if values}
    if shown:
        saved(differences_figure(shown, "mIoU of B less that of A, one dot an object"), out / "compare.png")
    else:
        (out / "compare.png").unlink(missing_ok=True)  # of another comparison
    return replaced


def _other_comparison(file: Path, told: Mapping[str, Any]) -> str:
    """In words, what is compared in a file, where that is not what is told now; nothing where there is no file."""
    if not file.exists():
        return ""
    try:
        was = json.loads(file.read_text(encoding="utf-8"))
        sides, now = ({**entry, "methods": list(entry["methods"])} for entry in (was, told))
    except (ValueError, KeyError, TypeError):
        return "a file that is no comparison"
    if all(sides.get(key) == now[key] for key in ("a", "b", "methods")):
        return ""
    return f"the comparison of {sides.get('a')} with {sides.get('b')} ({', '.join(map(str, sides['methods']))})"
