"""From the part tree to a codebook: names, the page that shows them, their vectors."""

from pathlib import Path
from typing import Annotated

import tyro

from semquery import prompts, stages
from semquery.commands.arguments import Folder
from semquery.console import print_tree
from semquery.labelling import LabelConfig
from semquery.portraits import PortraitConfig
from semquery.report import ReportConfig
from semquery.store import Run
from semquery.text import ENCODERS, HfText, Lexical, OpenClip
from semquery.vlm import Appearance, OpenAiServer, QwenVl, Replay


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
