"""What the evaluation of splats shows: a table for each scene, what the clean-up caught, and a picture of every scene.

Numbers are means over seeds with half the 95 % interval of Student's t; `- mesh` is the NC less that of the mesh way, paired seed by
seed. `reached` is the share of the surface's Gaussians that have any part, `labels` that of those with the right one, `by opacity` the same
weighed; `node purity`, `floaters held` and `most in a node` (of them, a share of the node's opacity) as in `judge`.

A picture shows the first seed in one held-out view: the photo, the splats in their colours and by true part, then a line for every
mask regime with the splats by predicted part, one column a way. Colours are those of the true part a Gaussian is labelled with; what
has none is dark.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int, UInt8

from eval.metrics import interval
from eval.report import markdown, part_palette, sheet
from eval.splats.judge import CleanScores, labels_of, splat_iou

if TYPE_CHECKING:
    from eval.splats.run import Scene, SplatRow, SplatsConfig

COLUMNS = ("held-out", "R50", "P50", "nodes/true", "reached", "labels", "by opacity", "node purity", "floaters held", "most in a node", "s")
NO_PART = (45, 45, 45)


def write_report(config: "SplatsConfig", rows: Sequence["SplatRow"], cleaned: Mapping[tuple[str, int], CleanScores]) -> str:
    """splats.md, splats.json and the pictures in OUT; the text is printed too."""
    from eval.splats.run import entry

    parts = ["# Part trees on splats of known scenes\n", ways_table(rows), "\n## Floaters that the clean-up tells\n", clean_table(cleaned)]
    text = "\n".join(parts) + "\n"
    (config.out / "splats.md").write_text(text)
    told = {"rows": [entry(row) for row in rows],
            "clean": [{"scene": scene, "seed": seed, **vars(scores)} for (scene, seed), scores in cleaned.items()]}
    (config.out / "splats.json").write_text(json.dumps(told, indent=1).replace("NaN", "null") + "\n")
    write_pictures(config)
    print(text)
    return text


def numbers(row: "SplatRow") -> tuple[float, ...]:
    """NC, then one value a column."""
    tree, splats = row.row.scores, row.splats
    return (tree.nc, row.row.heldout_nc, tree.recall50, tree.precision50, tree.num_nodes / row.row.true_nodes,
            splats.reached, splats.accuracy, splats.weighted, splats.purity, splats.held, splats.grabbed, row.row.seconds)


def ways_table(rows: Sequence["SplatRow"]) -> str:
    """One line for every scene, regime and way; intervals are over seeds."""
    lines = [["scene", "masks", "way", "seeds", "NC", "±", "- mesh", *COLUMNS]]
    for key in dict.fromkeys((r.row.cell.scene, r.row.cell.regime, r.row.cell.geometry) for r in rows):
        mine = {r.row.cell.seed: r for r in rows if (r.row.cell.scene, r.row.cell.regime, r.row.cell.geometry) == key}
        mesh = {r.row.cell.seed: r for r in rows if (r.row.cell.scene, r.row.cell.regime, r.row.cell.geometry) == (*key[:2], "mesh")}
        both = [s for s in mine if s in mesh]
        gap = interval([mine[s].row.scores.nc - mesh[s].row.scores.nc for s in both]) if both and key[2] != "mesh" else None
        first, *rest = np.mean([numbers(r) for r in mine.values()], 0)
        spread = half(interval([r.row.scores.nc for r in mine.values()]))
        lines.append([*key, str(len(mine)), f"{first:.3f}", spread, f"{gap[0]:+.3f} {half(gap)}".strip() if gap else "", *map(short, rest)])
    return markdown(lines)


def clean_table(cleaned: Mapping[tuple[str, int], CleanScores]) -> str:
    """One line a scene: shares, means over seeds."""
    lines = [["scene", "seeds", "caught", "of those left out", "lost of the surface"]]
    for scene in dict.fromkeys(scene for scene, _ in cleaned):
        found = [scores for (name, _), scores in cleaned.items() if name == scene]
        means = [float(np.mean([getattr(scores, name) for scores in found])) for name in ("caught", "precise", "lost")]
        lines.append([scene, str(len(found)), *map(short, means)])
    return markdown(lines)


def half(bounds: tuple[float, float, float]) -> str:
    """Half the width of an interval; nothing where one value has none."""
    return "" if np.isnan(bounds[1]) else f"±{(bounds[2] - bounds[1]) / 2:.3f}"


def short(value: float) -> str:
    """Three places, or none of what is large; a dash where nothing could be counted."""
    return "–" if np.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


# ------------------------------------------------------------------ pictures


def write_pictures(config: "SplatsConfig") -> None:
    """OUT/<scene>.png."""
    from PIL import Image

    from eval.judge import Cell
    from eval.splats.run import labelled, open_scene, tree_of
    from semquery.masks import on_white
    from semquery.pictures import load_photo

    for name in config.scenes:
        scene = open_scene(config, name, config.seeds[0])
        leaves = scene.truth.leaves(heldout=True)
        view = int(np.argmax([len(np.unique(leaves[each])) for each in scene.truth.heldout.names]))
        palette = part_palette(len(scene.truth.scene.parents))
        photo = on_white(load_photo(Path(scene.truth.heldout.images[view])))
        lines = [("photo, splats, truth", [photo, drawn(scene, view, None), drawn(scene, view, painted(scene.splats.leaf, palette))])]
        for regime in config.regimes:
            pictures = []
            for way in config.ways:
                run, parts = tree_of(config, Cell(name, way, regime, config.seeds[0]))
                pictures.append(drawn(scene, view, painted(shown_labels(scene, labelled(config, run, scene), parts.parents), palette)))
            lines.append((f"{regime} masks\n" + "\n".join(config.ways), pictures))
        Image.fromarray(sheet(lines)).save(config.out / f"{name}.png")


def shown_labels(scene: "Scene", part: Int[np.ndarray, " g"], parents: Int[np.ndarray, " p"]) -> Int[np.ndarray, " g"]:
    """The true part each Gaussian is labelled with, -1 = none."""
    true, splats = scene.truth.scene.parents, scene.splats
    weight = np.round(1000 * splats.gaussians.opacities.double().numpy()).astype(np.int64)
    return labels_of(part, splat_iou(splats.leaf, part, weight, true, parents), splats.leaf, parents)


def painted(label: Int[np.ndarray, " g"], palette: UInt8[np.ndarray, "a 3"]) -> UInt8[np.ndarray, "g 3"]:
    """A colour for each Gaussian."""
    return np.where(label[:, None] >= 0, palette[label], np.array(NO_PART, np.uint8))


def drawn(scene: "Scene", view: int, colors: UInt8[np.ndarray, "g 3"] | None) -> UInt8[np.ndarray, "h w 3"]:
    """The splats, without those left out, in a held-out view on white, in these colours or their own."""
    from semquery.splatting import View, rasterize

    kept = torch.from_numpy(scene.kept)
    gaussians, cameras = scene.splats.gaussians[kept], scene.truth.heldout
    seen_by = View.of(cameras.T_world_cam[view], cameras.intrinsics[view], tuple(cameras.sizes[view].tolist()), gaussians.means)
    features = gaussians.colors(seen_by.position) if colors is None else torch.from_numpy(colors).float()[kept] / 255
    with torch.no_grad():
        rendered = rasterize(gaussians, seen_by, features)
    picture = rendered.features + (1 - rendered.opacity[..., None])
    return (picture.clamp(0, 1) * 255).round().byte().numpy()
