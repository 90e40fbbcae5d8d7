"""The commands of `semquery`: what each takes, says and returns. The work is in `stages.py`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from semquery import stages
from semquery.console import print_hits, print_tree
from semquery.fit import FitConfig
from semquery.masks import MaskFolder, Regions
from semquery.parts import TreeConfig
from semquery.query import QueryConfig
from semquery.scene import check_undistorted, read_scene, scene_photos, view_names
from semquery.store import Run

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Words = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]


def masks(
    run: Folder,
    data: Path,
    source: Regions | MaskFolder = Regions(),
    overwrite: bool = False,
) -> None:
    """Make the 2D masks of a scene's photos and keep them in a run directory.

    Views that are done are kept, so an interrupted run goes on where it stopped. Look at masks/contact.png.

    Args:
        run: Run directory; made if it is not there.
        data: The scene: a folder with transforms.json, or with photos, or with a folder images/.
        source: Where masks come from: regions of like colour, or a folder of masks made elsewhere.
        overwrite: Make everything anew.
    """
    photos = scene_photos(data)
    stages.make_masks(Run(run, create=True), list(zip(view_names(photos), photos, strict=True)), source, overwrite)
    print(f"look at {run / 'masks' / 'contact.png'}")


def fit(
    run: Folder,
    mesh: Path | None = None,
    data: Path | None = None,
    config: Annotated[FitConfig, tyro.conf.arg(name="")] = FitConfig(),
    overwrite: bool = False,
) -> None:
    """Train the feature field on a run's surface points and fuse them into one surface.

    The surface points come from `ns-train semquery`, or from a mesh with --mesh and --data.

    Args:
        run: Run directory with masks.
        mesh: Take the surface from this mesh (PLY, OBJ, GLB) instead of from a trained radiance field.
        data: With --mesh: the scene whose transforms.json holds the camera poses.
        config: How the field is trained.
        overwrite: Train anew, from new surface points if --mesh is given.
    """
    opened = Run(run)
    if (mesh is None) != (data is None):
        raise ValueError("--mesh and --data go together: the mesh is the surface, the scene's transforms.json has the cameras.")
    if mesh is not None and data is not None:
        opened.need("masks")
        check_undistorted(data)
        stages.observe_mesh(opened, mesh, read_scene(data), overwrite=overwrite)
    stages.fit(opened, config, overwrite)


def tree(run: Folder, config: Annotated[TreeConfig, tyro.conf.arg(name="")] = TreeConfig(), overwrite: bool = False) -> None:
    """Build the part tree from the surface's features and the masks, and print it.

    Args:
        run: Run directory with a surface.
        config: How the tree is built.
        overwrite: Build it anew.
    """
    opened = Run(run)
    parts = stages.build_tree(opened, config, overwrite)
    print_tree(parts, opened.labels() if opened.stage("label") else {})


def label(run: Folder, labels: Path | None = None, overwrite: bool = False) -> None:
    """Name the parts, depth first, each in the context of its ancestors.

    Without a vision-language model the names say what can be measured: size, colour, shape. They carry no
    meaning; give names that do with --labels. The pictures a model would see are in views/<part>/.

    Args:
        run: Run directory with a part tree.
        labels: JSON file with names by hand, {"12": "handle", "7": {"name": "door", "synonyms": ["flap"]}}; they win over all others.
        overwrite: Ask for every name anew (names by hand stay).
    """
    opened = Run(run)
    if labels is not None:
        print(f"label: {stages.label_by_hand(opened, labels)} names by hand")
    found = stages.label(opened, overwrite=overwrite)
    print_tree(opened.parts(), found)
    if labels is not None and (opened / "codebook.npz").exists():
        print(f"make them searchable: semquery encode {run} --overwrite")


def encode(run: Folder, overwrite: bool = False) -> None:
    """Embed names, synonyms and descriptions into a codebook, which queries are compared with.

    Args:
        run: Run directory with labels.
        overwrite: Embed anew, after labels have changed.
    """
    book = stages.encode(Run(run), overwrite=overwrite)
    print(f"encode: {len(book.texts)} texts of {len(set(book.part_of_vector.tolist()))} parts, by {book.encoder}")


def query(run: Folder, text: Words, config: Annotated[QueryConfig, tyro.conf.arg(name="")] = QueryConfig()) -> int:
    """Ask for a part. Prints the hits, and writes points, masks and a picture to queries/<text>/.

    Args:
        run: Run directory with a codebook.
        text: What to look for, in quotes.
        config: How hits are scored.
    """
    opened = Run(run)
    hits = stages.query(opened, text, config)
    folder = stages.write_answer(opened, text, hits, config)
    print_hits(text, hits)
    print(f"  → {folder / ('picture.png' if hits else 'result.json')}")
    return 0 if hits else 1


def export(run: Folder, out: Path | None = None) -> None:
    """Write parts.ply (every surface point with the number of its part), tree.json and a picture of the levels.

    Args:
        run: Run directory with a part tree.
        out: Folder to write to; RUN/export by default.
    """
    for path in stages.export(Run(run), out):
        print(path)


def demo(out: Path = Path("demo"), geometry: Literal["trained", "exact"] = "trained", size: int = 160, views: int = 50) -> int:
    """Photos to answers on a procedural scene: a table with a microwave on it, and a chair.

    Runs the same commands one would run on a capture of one's own, and shows each. Run again, it goes on
    where it stopped.

    Args:
        out: Folder for the scene and its run.
        geometry: trained: a radiance field by `ns-train semquery-tiny` (minutes); exact: the mesh itself (about two minutes in all).
        size: Width and height of the photos, pixels.
        views: Number of photos.
    """
    from semquery.demo import run_demo

    return run_demo(out, geometry, size, views)
