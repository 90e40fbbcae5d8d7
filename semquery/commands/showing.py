"""What leaves a run, and what one looks at: exports, the viewer, the demo."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from semquery import stages
from semquery.commands.arguments import Folder
from semquery.console import printable
from semquery.opened.doors import checked_text
from semquery.query.matching import checked
from semquery.store import Run
from semquery.viewer.app import ViewConfig, run_viewer
from semquery.vlm import OpenAiServer, QwenVl, Replay


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
      semquery export RUN --formats splats                       # of a run made from splats (semquery fit --splats), those

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
