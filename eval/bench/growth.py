"""Cost of the tree's stages as work grows: with the number of views, and with the number of points.

    python -m eval.bench.growth --out DIR [--large]

Views grow from 8 to 64, with about 150 masks each, on 3e4 points; points grow from 1e4 to 1e5, with `--large` to 1e6, in
8 views, whose pixels grow with them. The scene is `patchwork`. Seconds are the median of `--repeats` calls, memory is that
of a call in a process of its own. A table goes to the terminal, everything to DIR/growth.json, and the curves, both axes
logarithmic, to DIR/growth.png. An exponent of 1 means cost in proportion.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eval.bench.patchwork import Patchwork, patchwork
from eval.bench.peak import peak_mb
from semquery.evidence import cooccurrence, mask_evidence
from semquery.facility import facility_location
from semquery.geometry import FusionConfig, bridges, fuse, knn_edges
from semquery.hierarchy import merge_tree

VIEWS, POINTS_OF_VIEWS = (8, 16, 32, 64), 30_000
POINTS, LARGE, VIEWS_OF_POINTS = (10_000, 30_000, 100_000), (300_000, 1_000_000), 8


@dataclass(frozen=True)
class Row:
    """One stage at one size."""

    grows: str  # views or points
    views: int
    points: int
    masks: int
    stage: str
    seconds: float
    peak_mb: float

    @property
    def size(self) -> int:
        """The number that grows."""
        return self.views if self.grows == "views" else self.points


def stages(scene: Patchwork) -> dict[str, Callable[[], object]]:
    """Every stage as a call; what a stage needs is made beforehand."""
    surface, masks, n = scene.surface, scene.masks, len(scene.surface.points)
    edges = knn_edges(surface.points, 12, 3.75)
    edges = np.concatenate([edges, bridges(surface.points, edges)])
    features = surface.features.astype(np.float32)
    weights = np.linalg.norm(features[edges[:, 0]] - features[edges[:, 1]], axis=1).astype(np.float64)
    weights += 0.2 * cooccurrence(edges, surface, masks)
    tree = merge_tree(n, edges, weights, "average")
    evidence = mask_evidence(tree, surface, masks, min_points=12)
    fusion = FusionConfig(voxel_size=1.0, min_hits=1, min_views=1)
    return {
        "fuse": lambda: fuse(scene.seen, scene.eyes, fusion),
        "knn_edges": lambda: knn_edges(surface.points, 12, 3.75),
        "cooccurrence": lambda: cooccurrence(edges, surface, masks),
        "average linkage": lambda: merge_tree(n, edges, weights, "average"),
        "single linkage": lambda: merge_tree(n, edges, weights, "single"),
        "mask_evidence": lambda: mask_evidence(tree, surface, masks, min_points=12),
        "facility_location": lambda: facility_location(evidence, 3.0, 0.06, most=79),
    }


def measure(grows: str, num_points: int, num_views: int, repeats: int) -> Iterator[Row]:
    """Every stage on a scene of this size, printed as it is done."""
    scene = patchwork(num_points, num_views)
    for stage, call in stages(scene).items():
        seconds = statistics.median(timed(call) for _ in range(repeats))
        row = Row(grows, num_views, len(scene.surface.points), scene.num_masks, stage, seconds, peak_mb(call))
        print(f"{grows:6s} {row.views:5d} {row.points:8d} {row.masks:6d}  {stage:18s} {seconds:9.3f} s {row.peak_mb:8.0f} MB", flush=True)
        yield row


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def exponents(rows: list[Row]) -> dict[str, float]:
    """Slope of each stage's seconds over the size that grows, both logarithmic."""
    found = {}
    for stage in dict.fromkeys(row.stage for row in rows):
        same = [row for row in rows if row.stage == stage]
        if len({row.size for row in same}) > 1:
            found[stage] = float(np.polyfit(np.log([row.size for row in same]), np.log([row.seconds for row in same]), 1)[0])
    return found


def plot(rows: list[Row], path: Path) -> None:
    """Seconds and megabytes of each stage over views (left) and points (right)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(row.grows for row in rows))
    figure, axes = plt.subplots(2, len(kinds), figsize=(5.5 * len(kinds), 9), squeeze=False, layout="constrained")
    for column, grows in enumerate(kinds):
        of_kind = [row for row in rows if row.grows == grows]
        slopes = exponents(of_kind)
        for stage in dict.fromkeys(row.stage for row in of_kind):
            same = [row for row in of_kind if row.stage == stage]
            label = f"{stage}: {slopes[stage]:.2f}" if stage in slopes else stage
            axes[0, column].loglog([row.size for row in same], [row.seconds for row in same], "o-", label=label)
            axes[1, column].loglog([row.size for row in same], [max(row.peak_mb, 1.0) for row in same], "o-")
        axes[0, column].legend(title="stage: exponent", fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2)
        for axis, what in zip(axes[:, column], ("seconds", "megabytes, at most"), strict=True):
            sizes = sorted({row.size for row in of_kind})
            axis.set(xlabel=grows, ylabel=what, xticks=sizes, xticklabels=[f"{size:.3g}" for size in sizes])
            axis.minorticks_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(rows: list[Row], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "growth.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    plot(rows, out / "growth.png")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the tree's stages as views and points grow.")
    parser.add_argument("--out", type=Path, required=True, help="folder for growth.json and growth.png")
    parser.add_argument("--large", action="store_true", help="also 3e5 and 1e6 points (minutes, several GB)")
    parser.add_argument("--repeats", type=int, default=1, help="timed calls of each stage")
    a = parser.parse_args()
    sizes = [("views", POINTS_OF_VIEWS, v) for v in VIEWS] + [("points", n, VIEWS_OF_POINTS) for n in POINTS + (LARGE if a.large else ())]
    rows: list[Row] = []
    for grows, num_points, num_views in sizes:
        rows += measure(grows, num_points, num_views, a.repeats)
        write(rows, a.out)
    for grows in ("views", "points"):
        slopes = exponents([row for row in rows if row.grows == grows])
        print(f"exponents over {grows}:", ", ".join(f"{stage} {slope:.2f}" for stage, slope in slopes.items()))


if __name__ == "__main__":
    main()
