"""The ablation of MLLM-For3D (arXiv 2503.18135, table 4), on scenes whose answers are known: `python -m eval reasoning ablation --out DIR`.

A simulated segmenter stands in for LISA: its masks are drawn too large or too small, and in a share of the views it means another
part, embedding included. The paper's rows and ours stand side by side. What differs: their scenes are rooms and their errors a
model's; here a head is trained on one scene's field, not one network on all scenes; the 2D features of the spatial loss are local
colours and edges, not those of a SAM encoder.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eval.metrics.resampling import mean_interval, paired_interval
from eval.reasoning.ablation_scene import Found, Setting, answer_all, prepare, spoiled
from eval.report import markdown
from eval.truth import scenes, write_truth
from semquery.fit import FitConfig
from semquery.geometry import FusionConfig
from semquery.lifting import FuseConfig
from semquery.lifting.head import DistillConfig
from semquery.manifest import as_config, atomic
from semquery.stages import progress

FULL = "full"
ALIKE, OURS = FuseConfig("uniform", power=1.0, doubt=0.0), FuseConfig("tokens")
SETTINGS = (
    Setting("projection only", 4, ALIKE, learned=False, token_for_query=False, spatial=False, paper=19.75),
    Setting("without token for query", 4, ALIKE, token_for_query=False, paper=20.93),
    Setting("without spatial loss", 4, spatial=False, paper=21.02),
    Setting("full, 2 views", 2, paper=21.30),
    Setting("full, 8 views", 8, paper=23.50),
    Setting(FULL, 4, paper=23.90),
    Setting("projection, weighed as published", 4, learned=False, spatial=False),
    Setting("projection, weighed as published, 8 views", 8, learned=False, spatial=False),
    Setting("projection, weighed our way, 8 views", 8, OURS, learned=False, spatial=False),
    Setting("full, weighed our way", 4, OURS),
    Setting("full, weighed our way, 8 views", 8, OURS),
    Setting("full, weighed our way, 16 views", 16, OURS),
    Setting("projection, weighed our way, 16 views", 16, OURS, learned=False, spatial=False),
)


@dataclass(frozen=True)
class AblationConfig:
    """Switch off one piece of MLLM-For3D after the other, on scenes with known answers.

    The rows are those of the paper's table 4 (Instruct3D, mIoU in per cent), and some of ours. A cell (scene, seed) that was measured
    with the same settings is read back, so that an interrupted evaluation goes on where it stopped.
    """

    out: Path
    """Folder for scenes, runs, cells/, results.json and ablation.md."""
    scenes: tuple[str, ...] = ("tabletop", "chair", "lamp", "microwave", "cabinet", "plate")
    """Which scenes."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of views, noise and weights."""
    hallucinate: float = 0.4
    """Share of the views in which another part is meant."""
    jitter: float = 3.0
    """Pixels by which masks are too large or too small."""
    size: int = 128
    """Width and height of the photos, pixels."""
    views: int = 24
    """Photos of a scene; of them few are asked."""
    max_queries: int = 12
    """Most queries of a scene."""
    resolution: int = 80
    """Voxels along a scene's longest side."""
    fit_steps: int = 400
    """Training steps of the feature field, once for each scene."""
    head_steps: int = 300
    """Training steps of a head, one for each scene, seed and setting."""

    def __post_init__(self) -> None:
        if not self.scenes or not self.seeds:
            raise ValueError("--scenes and --seeds want at least one each.")
        if not 0 <= self.hallucinate <= 1 or self.jitter < 0:
            raise ValueError(f"hallucinate is {self.hallucinate} and jitter {self.jitter}; a share from 0 to 1, and pixels from 0.")


@dataclass(frozen=True)
class Answer:
    """One query of one scene, with one seed and one setting."""

    scene: str
    seed: int
    setting: str
    found: Found


def run_ablation(config: AblationConfig) -> list[Answer]:
    """Measure every cell, print the table, write it to OUT."""
    makers, answers = scenes(config.scenes, None), []
    for name in progress(config.scenes, "scenes"):
        left = [seed for seed in config.seeds if _kept(config, name, seed) is None]
        if left:
            truth = write_truth(config.out / "scenes" / name, name, makers[name], config.size, config.views, 2)
            fit = FitConfig(steps=config.fit_steps, fusion=FusionConfig(resolution=config.resolution))
            asked = prepare(config.out / "runs" / name, truth, fit, config.max_queries)
            head = DistillConfig(steps=config.head_steps)
            for seed in left:
                segmenter = spoiled(asked, config.hallucinate, config.jitter, seed)
                rows = [(s.name, found) for s in SETTINGS for found in answer_all(asked, s, segmenter, head, seed)]
                _keep(config, name, seed, rows)
        answers += [Answer(name, seed, *row) for seed in config.seeds for row in _kept(config, name, seed) or []]
    text = report(answers, config)
    said = {"config": as_config(config), "answers": [asdict(a) for a in answers]}
    (config.out / "results.json").write_text(json.dumps(said, indent=1) + "\n")
    (config.out / "ablation.md").write_text(text)
    print(text)
    return answers


def report(answers: Sequence[Answer], config: AblationConfig) -> str:
    """ablation.md: a row a setting, with its distance from the full method, and what snapping to the tree adds."""
    known = [s for s in SETTINGS if any(a.setting == s.name for a in answers)]
    table = {s.name: per_query(answers, s.name) for s in known}
    head = ["", "paper", "mIoU", "95 %", "to the full one", "95 %", "Acc@0.25", "Acc@0.5", "snapped", "gain", "95 %"]
    lines = [head, *(_row(s, table[s.name], table[FULL]) for s in known)]
    best = np.mean([a.found.best for a in answers])
    said = [f"# MLLM-For3D's ablation: {len(table[FULL])} queries on {len({a.scene for a in answers})} scenes, {len(config.seeds)} seeds",
            f"In {config.hallucinate:.0%} of the views another part is meant; masks are {config.jitter:g} pixels too large or too small. "
            "IoU over all points of the surface, seen or not. Intervals: bootstrap over queries, each the mean of its seeds; differences are paired. "
            f"Snapped: the union of parts of the found tree that fits best; what is meant is such a union up to an IoU of {best:.3f}.",
            markdown(lines)]
    return "\n\n".join(said) + "\n"


def per_query(answers: Sequence[Answer], setting: str) -> np.ndarray:
    """[q, 4] of one setting: IoU, snapped IoU and whether IoU > .25 and > .5, each query the mean of its seeds."""
    rows: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for a in answers:
        if a.setting == setting:
            rows.setdefault((a.scene, a.found.query), []).append((a.found.iou, a.found.snapped, a.found.iou > 0.25, a.found.iou > 0.5))
    return np.array([np.mean(each, axis=0) for each in rows.values()])


def _row(setting: Setting, here: np.ndarray, full: np.ndarray) -> list[str]:
    mean, low, high = mean_interval(here[:, 0])
    gap, snap_gain = paired_interval(full[:, 0], here[:, 0]), paired_interval(here[:, 0], here[:, 1])
    difference = ["", ""] if setting.name == FULL else [f"{gap[0]:+.3f}", f"{gap[1]:+.3f} to {gap[2]:+.3f}"]
    return [setting.name, "" if setting.paper is None else f"{setting.paper:.2f}", f"{mean:.3f}", f"{low:.3f} to {high:.3f}", *difference,
            f"{here[:, 2].mean():.2f}", f"{here[:, 3].mean():.2f}", f"{here[:, 1].mean():.3f}",
            f"{snap_gain[0]:+.3f}", f"{snap_gain[1]:+.3f} to {snap_gain[2]:+.3f}"]


def _asked_for(config: AblationConfig) -> dict:
    """What a cell depends on beside its scene and seed, as JSON gives it back."""
    said = {k: v for k, v in as_config(config).items() if k not in ("out", "scenes", "seeds")}
    return json.loads(json.dumps({**said, "settings": as_config(SETTINGS)}))


def _keep(config: AblationConfig, scene: str, seed: int, rows: Sequence[tuple[str, Found]]) -> None:
    with atomic(config.out / "cells" / f"{scene}-{seed}.json") as path:
        path.write_text(json.dumps({"asked": _asked_for(config), "rows": [[name, asdict(found)] for name, found in rows]}) + "\n")


def _kept(config: AblationConfig, scene: str, seed: int) -> list[tuple[str, Found]] | None:
    """The rows of a cell, None where there are none of these settings."""
    path = config.out / "cells" / f"{scene}-{seed}.json"
    said = json.loads(path.read_text()) if path.exists() else {"asked": None}
    return [(name, Found(**found)) for name, found in said["rows"]] if said["asked"] == _asked_for(config) else None
