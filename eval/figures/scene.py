"""The run that the figures show: the demo's scene on its own mesh, with the true names where parts match true parts.

Notation
  n points, p parts of the run's tree, q true parts.
"""

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32

from eval.truth import carry
from semquery import stages
from semquery.demo import run_demo
from semquery.store import Run
from semquery.types import PartTree

SIZE, VIEWS = 320, 50  # twice the demo's photos: a picture is enlarged less
MATCH = 0.5  # least IoU of a part and the true part whose name it gets


def figure_run(cache: Path) -> Run:
    """The run in the folder, made where it is not there yet; named and encoded."""
    run = Run(cache / "exact", create=True)
    if not (cache / "names.json").exists():
        with contextlib.redirect_stdout(sys.stderr):
            run_demo(cache, "exact", SIZE, VIEWS)
        stages.label_by_hand(run, _written(cache / "names.json", run, cache / "scene"))
    stages.encode(run, overwrite=not is_encoded(run))
    return run


def is_encoded(run: Run) -> bool:
    """Whether the codebook is of the names that are there."""
    try:
        run.check_current("encode")
    except ValueError:
        return False
    return (run / "codebook.npz").exists()


def _written(path: Path, run: Run, scene: Path) -> Path:
    truth = json.loads((scene / "truth.json").read_text())
    leaves = {file.stem: np.load(file)["leaf"] for file in sorted((scene / "truth").glob("*.npz"))}
    leaf = carry(run.surface(), leaves, len(truth["names"]))
    path.write_text(json.dumps({str(part): name for part, name in true_names(run.parts(), leaf, truth).items()}, indent=1) + "\n")
    return path


def true_names(tree: PartTree, leaf: Int32[np.ndarray, " n"], truth: Mapping) -> dict[int, str]:
    """part → name of the true part it is, where each is the other's best match and they share at least MATCH of their points.

    `leaf`: the smallest true part of every point, -1 where there is none. `truth`: names and parents of the true parts.
    """
    shared = overlaps(tree, leaf, truth["parents"])
    return {int(part): truth["names"][true] for true, part in enumerate(shared.argmax(0))
            if shared[part, true] >= MATCH and shared[part].argmax() == true}


def overlaps(tree: PartTree, leaf: Int32[np.ndarray, " n"], parents: list[int]) -> Float64[np.ndarray, "p q"]:
    """IoU of every part with every true part, over points; descendants included on both sides."""
    pairs = np.zeros((tree.num_parts, len(parents) + 1))
    np.add.at(pairs, (tree.part_of_point, leaf), 1)  # -1 is the last column
    for part in range(tree.num_parts - 1):
        pairs[tree.parents[part]] += pairs[part]
    size = pairs.sum(1)
    pairs = pairs[:, :-1]
    for true in np.argsort([depth(parents, q) for q in range(len(parents))])[::-1]:
        if parents[true] != true:
            pairs[:, parents[true]] += pairs[:, true]
    both = pairs
    return both / np.maximum(size[:, None] + both[-1] - both, 1)


def depth(parents: list[int], part: int) -> int:
    """How many parts lie around a part."""
    return 0 if parents[part] == part else 1 + depth(parents, parents[part])
