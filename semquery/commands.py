"""The commands of `semquery`: what each takes, says and returns. The work is in `stages.py`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from semquery import stages
from semquery.console import print_hits, print_tree
from semquery.fit import FitConfig
from semquery.labelling import LabelConfig
from semquery.masks import MaskSource, Regions
from semquery.parts import TreeConfig
from semquery.portraits import PortraitConfig
from semquery.query import QueryConfig
from semquery.report import ReportConfig
from semquery.scene import check_undistorted, read_scene, scene_photos, view_names
from semquery.store import Run
from semquery.vlm import Appearance, OpenAiServer, QwenVl, Replay

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Words = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def masks(
    run: Folder,
    data: Path,
    source: MaskSource = Regions(),
    overwrite: bool = False,
) -> None:
    """Make the 2D masks of a scene's photos and keep them in a run directory.

    Views that are done are kept, so an interrupted run goes on where it stopped. Look at masks/contact.png.

    Args:
        run: Run directory; made if it is not there.
        data: The scene: a folder with transforms.json, or with photos, or with a folder images/.
        source: Where masks come from: regions of like colour, a folder of masks made elsewhere, or a SAM checkpoint
            (source:sam --source.checkpoint FOLDER).
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


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def label(
    run: Folder,
    vlm: Appearance | QwenVl | OpenAiServer | Replay = Appearance(),
    config: Annotated[LabelConfig, tyro.conf.arg(name="")] = LabelConfig(),
    how: Annotated[stages.LabelRun, tyro.conf.arg(name="")] = stages.LabelRun(),
    pictures: PortraitConfig = PortraitConfig(),
    labels: Path | None = None,
    dry_run: bool = False,
    price_in: float | None = None,
    price_out: float | None = None,
    overwrite: bool = False,
) -> None:
    """Name the parts, depth first, each in the context of its ancestors.

    Without a vision-language model the names say what can be measured: size, colour, shape. They carry no
    meaning; a model's do, and so do names by hand (--labels). What a model answers is recorded at once: an
    interrupted run goes on where it stopped. The pictures that it sees are in views/<part>/.

      semquery label RUN vlm:open-ai-server --vlm.base-url http://localhost:8000/v1 --vlm.model NAME --workers 4
      semquery label RUN vlm:qwen-vl --vlm.checkpoint FOLDER

    Args:
        run: Run directory with a part tree.
        vlm: Who is asked: nobody (measured names), a model in this process, a server, or what another run recorded.
        config: What is asked.
        how: How the work is done.
        pictures: What the model sees of a part (--style paper always shows black-masked crops).
        labels: JSON file with names by hand, {"12": "handle", "7": {"name": "door", "synonyms": ["flap"]}}, or the edits.json of a report
            page; they win over all others, and the parts inside are told of them.
        dry_run: Ask nobody; tell the calls, tokens and time it would take, and write a sample request with its pictures to dry-run/.
        price_in: With --dry-run: price of a million prompt tokens.
        price_out: With --dry-run: price of a million answer tokens.
        overwrite: Make every name anew. Names by hand stay, and recorded answers count where the same is asked (unless --ask-anew is given).
    """
    opened = Run(run)
    if (price_in is None) != (price_out is None) or (price_in is not None and not dry_run):
        raise ValueError("--price-in and --price-out go together, and with --dry-run.")
    if labels is not None and not dry_run:
        print(f"label: {stages.label_by_hand(opened, labels)} names by hand")
    if dry_run:
        prices = None if price_in is None or price_out is None else (price_in, price_out)
        found, folder = stages.estimate_labels(opened, vlm, config, how, pictures, prices)
        print("\n".join(found.lines()))
        print(f"look at {folder / 'request.json'}" if found.calls else "nothing is left to ask")
        return
    other = stages.named_by(opened)
    if labels is not None and isinstance(vlm, Appearance) and other not in (None, vlm.identity):
        print(f"label: the other names, by {other}, stay as they are; run the command that made them again to tell the parts inside")
    else:
        stages.label(opened, vlm, config, how, pictures, overwrite)
    print_tree(opened.parts(), opened.labels())
    if labels is not None and (opened / "codebook.npz").exists():
        print(f"make them searchable: semquery encode {run} --overwrite")


def report(run: Folder, config: Annotated[ReportConfig, tyro.conf.arg(name="")] = ReportConfig(), out: Path | None = None) -> None:
    """Write one HTML page with every part: its pictures, its name, what else it may be, and why.

    The page needs no network and no other file. Names can be corrected in it; it hands the edits over as edits.json,
    which `semquery label RUN --labels edits.json` reads.

    Args:
        run: Run directory with labels.
        config: What the page carries.
        out: File to write; RUN/report.html by default.
    """
    path = stages.report(Run(run), config, out)
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser")


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
