"""The commands of `semquery`: what each takes, says and returns. The work is in `stages.py`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from semquery import prompts, stages
from semquery.ask import AskConfig
from semquery.console import print_hits, print_tree, printable
from semquery.fit import FitConfig
from semquery.labelling import LabelConfig, OutOfCalls
from semquery.masks import MaskSource, Regions
from semquery.opened.doors import checked_text
from semquery.parts import TreeConfig
from semquery.phrases import parse
from semquery.portraits import PortraitConfig
from semquery.query import QueryConfig
from semquery.query.matching import checked
from semquery.report import ReportConfig
from semquery.scene import check_undistorted, read_scene, scene_photos, view_names
from semquery.store import Run
from semquery.text import ENCODERS, HfText, Lexical, OpenClip
from semquery.understand import is_settled, understood
from semquery.viewer.app import ViewConfig, run_viewer
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


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def encode(
    run: Folder,
    encoder: ENCODERS = Lexical(),
    pictures: OpenClip | HfText | None = None,
    shown: PortraitConfig = PortraitConfig(),
    negatives: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Embed names, synonyms and functions into a codebook, which queries are compared with.

    Without weights names are compared by spelling. A CLIP or sentence encoder knows synonyms:

      semquery encode RUN encoder:open-clip --encoder.download
      semquery encode RUN encoder:hf-text --encoder.checkpoint FOLDER
      semquery encode RUN encoder:embedding-server --encoder.base-url http://localhost:8000/v1 --encoder.model NAME
      semquery encode RUN encoder:open-clip pictures:open-clip         # what the parts look like counts, too

    Args:
        run: Run directory with labels.
        encoder: What makes vectors of texts; queries are encoded by the same.
        pictures: A CLIP or SigLIP that also encodes the close-up of every part, for queries with --alpha below 1.
        shown: How a part is shown in its close-up.
        negatives: Text file of what a hit has to beat, one phrase a line, instead of prompts/negatives.txt.
        overwrite: Embed anew, after labels have changed or by another encoder.
    """
    against = None if negatives is None else prompts.negatives(negatives)
    book = stages.encode(Run(run), encoder, pictures, against, shown, overwrite)
    seen = f", and pictures of {len(book.part_of_picture)} by {book.picture_encoder}" if book.picture_encoder else ""
    print(f"encode: {len(book.texts)} texts of {len(set(book.part_of_entry.tolist()))} parts, by {book.encoder}{seen}")


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def query(
    run: Folder,
    text: Words,
    config: Annotated[QueryConfig, tyro.conf.arg(name="")] = QueryConfig(),
    view: str | None = None,
    up: tuple[float, float, float] | None = None,
    front: tuple[float, float, float] | None = None,
    encoder: ENCODERS | None = None,
    reencode: bool = False,
    vlm: QwenVl | OpenAiServer | Replay | None = None,
) -> int:
    """Ask for a part. Prints the hits, and writes points, masks and a picture to queries/<text>/.

    Names, synonyms and descriptions are understood, and how parts stand to each other:

      semquery query RUN "handle of the left drawer"
      semquery query RUN "all the legs"
      semquery query RUN "buttons but not the start button"

    Leaves with 1 when nothing in the scene is called so.

    Args:
        run: Run directory with a codebook.
        text: What to look for, in quotes.
        config: How hits are scored.
        view: Left, right, front and behind are meant as seen in this photo (its name in cameras.json).
        up: The direction that is up, x y z in the frame of the poses; by default that of the cameras.
        front: The direction that the front faces, x y z; by default that in which most parts face.
        encoder: Only where it cannot be made again as the codebook says, or with --reencode.
        reencode: Make the codebook anew first, by the encoder given.
        vlm: A language model, asked to take queries apart that the rules cannot.
    """
    if view is not None and front is not None:
        raise ValueError("--view and --front both say where the viewer stands: give one of them.")
    opened, text = Run(run), checked(checked_text(text))
    scene = stages.opened(opened, config, encoder, reencode, up, front)
    is_plain_enough = vlm is None or is_settled(parse(text)) or scene.searcher.is_a_name(text)  # then the model need not even be there
    phrase = None if is_plain_enough else understood(text, stages.asker_for(opened, vlm))
    found = scene.query(text, view=view, phrase=phrase)
    missing = "" if found else scene.missing(text, view, phrase)
    folder = stages.write_answer(opened, scene, text, found, view, missing, phrase)
    print_hits(text, [each.hit for each in found], missing)
    print(f"  → {folder / ('picture.png' if (folder / 'picture.png').exists() else 'result.json')}")
    return 0 if found else 1


def export(
    run: Folder,
    formats: tuple[stages.Format, ...] = stages.CHEAP,
    part: tuple[int, ...] | None = None,
    query: str | None = None,
    out: Path | None = None,
    splats: Annotated[stages.Splats, tyro.conf.arg(name="")] = stages.Splats(),
    mesh: Path | None = None,
) -> int:
    """Write the parts for other programs: the whole tree, some parts, or all parts that answer a query together.

      semquery export RUN                                        # parts.ply tree.json boxes.json boxes.ply levels.png
      semquery export RUN --query "all the handles" --formats ply glb masks
      semquery export RUN --part 3 7                             # these two together
      semquery export RUN --part 12 --splats scene.ply           # Gaussian splats of the same capture, with the part of each

    Formats: ply (points with part, level and colour), json (the tree with names and boxes), boxes (poses and sizes, and lines to look at),
    picture, glb (a named node for each part), masks (PNGs of every view), coco (masks of all parts as COCO instances), splats, parts (a
    file for each part). Leaves with 1 when nothing in the scene is called so.

    Args:
        run: Run directory with a part tree.
        formats: What is written.
        part: Only this part, or these together, and what is inside.
        query: Only what answers this first; takes a run with a codebook (semquery encode).
        out: Folder to write to; by default RUN/export, and in it part-12, part-3-7 or query-handle.
        splats: Where Gaussian splats come from.
        mesh: For a run made from a mesh (semquery fit --mesh), that mesh: the GLB has its faces instead of a disc for each point.
    """
    try:
        written = stages.export(Run(run), out, formats, part, query, splats, mesh)
    except stages.NotFound as missing:
        print(printable(str(missing)))
        return 1
    print("\n".join(map(printable, stages.written_lines(written))))
    return 0


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


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def view(
    run: Folder,
    vlm: QwenVl | OpenAiServer | Replay | None = None,
    config: Annotated[ViewConfig, tyro.conf.arg(name="")] = ViewConfig(),
    query: str | None = None,
    open: bool = False,
) -> int:
    """Look at a run in a browser: search, click parts, walk the tree, ask, export.

    The surface as points, or a mesh or splats of it; needs no nerfstudio, no GPU and no network. A click selects the part
    there at the level of the tree; Parent and Child walk from it. Names that arrive meanwhile are shown as they come, so it
    can be opened while `semquery label` is at work.

      semquery view RUN                                          # open http://127.0.0.1:7007; Ctrl-C ends it
      semquery view RUN --query "all the handles" --open
      semquery view RUN --mesh scene.ply                         # a run made by semquery fit --mesh scene.ply
      semquery view RUN --splats scene.ply --splats-transform dataparser_transforms.json
      semquery view RUN vlm:open-ai-server --vlm.base-url http://localhost:8000/v1 --vlm.model NAME

    On another machine: ssh -L 7007:127.0.0.1:7007 THERE semquery view RUN, and open the address here.

    Args:
        run: Run directory with a part tree; one that has none yet is shown as soon as it has.
        vlm: The model that answers questions in the tab Ask; by default the one that named the parts, if the run tells.
        config: What is drawn, and where the page is.
        query: Search for this at once.
        open: Open the page in the browser of this machine.
    """
    text = None if query is None else checked(checked_text(query))
    return run_viewer(Run(run), config, vlm, text, open)


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def ask(
    run: Folder,
    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")],
    vlm: QwenVl | OpenAiServer | Replay | None = None,
    config: Annotated[AskConfig, tyro.conf.arg(name="")] = AskConfig(),
    how: Annotated[stages.AskRun, tyro.conf.arg(name="")] = stages.AskRun(),
    view: str | None = None,
    up: tuple[float, float, float] | None = None,
    front: tuple[float, float, float] | None = None,
    encoder: ENCODERS | None = None,
    reencode: bool = False,
) -> int:
    """Ask for a part by what it is for, or by any question that a part answers.

    A language model that sees looks at the scene and its table of parts, says which parts matter, looks at these again
    and decides. Without one, questions of form ("the second drawer from the top") are answered by geometry, others by what
    is said of the parts; it is told which, and when neither can. Writes queries/<question>--ask/; what a model answers is
    recorded in asks.jsonl, and the same question is not paid for twice.

      semquery ask RUN "what would I press to start it?" vlm:open-ai-server --vlm.base-url http://localhost:8000/v1 --vlm.model NAME
      semquery ask RUN "the container closest to the door"

    Leaves with 1 when no part is the answer.

    Args:
        run: Run directory with a codebook.
        question: What to ask, in quotes, in any language that the model knows.
        vlm: Who is asked: nobody, a model in this process, a server, or what was recorded (the asks.jsonl of a run).
        config: How the question is put.
        how: How the work is done.
        view: Left, right, front and behind are meant as seen in this photo (its name in cameras.json).
        up: The direction that is up, x y z in the frame of the poses; by default that of the cameras.
        front: The direction that the front faces, x y z; by default that in which most parts face.
        encoder: Only where it cannot be made again as the codebook says, or with --reencode.
        reencode: Make the codebook anew first, by the encoder given.
    """
    if view is not None and front is not None:
        raise ValueError("--view and --front both say where the viewer stands: give one of them.")
    opened = Run(run)
    scene = stages.opened(opened, QueryConfig(), encoder, reencode, up, front)
    try:
        answer = stages.ask(opened, scene, question, vlm, config, how, view)
    except OutOfCalls:
        print("ask: stopped at --max-calls; the same command goes on from there")
        return 1
    folder = stages.write_asked(opened, scene, answer, config, view)
    print("\n".join(map(printable, stages.asked_in_words(scene, answer))))
    print(f"  → {folder / ('picture.png' if (folder / 'picture.png').exists() else 'result.json')}")
    return 0 if answer.targets else 1
