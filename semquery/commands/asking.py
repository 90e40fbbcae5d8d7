"""Asking a run: by name, by purpose, over its tree or over its views."""

from typing import Annotated, Literal

import tyro

from semquery import stages
from semquery.ask import AskConfig
from semquery.commands.arguments import Folder, Words
from semquery.commands.views import ask_by_views
from semquery.console import print_hits, printable
from semquery.labelling import OutOfCalls
from semquery.lifting.answer import ViewsConfig
from semquery.lifting.pixels import ColourEdges, SamEncoder
from semquery.opened.doors import checked_text
from semquery.phrases import parse
from semquery.query import QueryConfig
from semquery.query.matching import checked
from semquery.segmenter import Segmenting
from semquery.store import Run
from semquery.text import ENCODERS
from semquery.understand import is_settled, understood
from semquery.vlm import OpenAiServer, QwenVl, Replay


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
    method: Literal["tree", "views"] = "tree",
    segmenter: Segmenting | None = None,
    views: Annotated[ViewsConfig, tyro.conf.arg(name="")] = ViewsConfig(),
    pixels: ColourEdges | SamEncoder = ColourEdges(),
) -> int:
    """Ask for a part by what it is for, or by any question that a part answers.

    A language model that sees looks at the scene and its table of parts, says which parts matter, looks at these again
    and decides. Without one, questions of form ("the second drawer from the top") are answered by geometry, others by what
    is said of the parts; it is told which, and when neither can. Writes queries/<question>--ask/; what a model answers is
    recorded in asks.jsonl, and the same question is not paid for twice.

      semquery ask RUN "what would I press to start it?" vlm:open-ai-server --vlm.base-url http://localhost:8000/v1 --vlm.model NAME
      semquery ask RUN "the container closest to the door"

    With --method views a segmenter that reasons is asked about some views of the scene instead, each by itself; what it points at
    is lifted to the surface, the views weighed by how far they agree. That takes no names and no codebook, and is not bound to
    the parts of the tree. Writes queries/<question>--views/.

      semquery ask RUN "what would I press to start it?" --method views segmenter:lisa --segmenter.base-url http://localhost:8000

    Leaves with 1 when no part is the answer.

    Args:
        run: Run directory with a codebook; with --method views any with a surface.
        question: What to ask, in quotes, in any language that the model knows.
        vlm: Who is asked: nobody, a model in this process, a server, or what was recorded (the asks.jsonl of a run).
        config: How the question is put.
        how: How the work is done.
        view: Left, right, front and behind are meant as seen in this photo (its name in cameras.json).
        up: The direction that is up, x y z in the frame of the poses; by default that of the cameras.
        front: The direction that the front faces, x y z; by default that in which most parts face.
        encoder: Only where it cannot be made again as the codebook says, or with --reencode.
        reencode: Make the codebook anew first, by the encoder given.
        method: tree: by the parts and their names; views: by what a segmenter sees in views of the scene.
        segmenter: With --method views: who is asked.
        views: With --method views: which views are asked, and how far they are believed.
        pixels: With --distill: what a head's features are compared with in the pictures.
    """
    if method == "views" or segmenter is not None:
        return ask_by_views(Run(run), question, method, segmenter, views, pixels)
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
