"""From a question to parts, an explanation, masks and a picture → queries/<question>--ask/, with what a model answered in asks.jsonl.

Answers of a model are recorded as they come, in a journal of their own in the form of labels.jsonl: the same question
about the same scene costs nothing again, and an interrupted one goes on where it stopped.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from semquery.ask import AskAnswer, AskConfig, Subject, checked_question
from semquery.ask import ask as answer_to
from semquery.ask.pictures import ANCHOR, CANDIDATE, drawn, showing
from semquery.export import highlighted_cloud, path_names
from semquery.labelling import Asker
from semquery.manifest import as_config, json_lines
from semquery.opened import ASKS, Scene
from semquery.opened.doors import checked_text
from semquery.pictures import captioned, close_up, grid
from semquery.stages.answer import answer_folder, box_record, frame_record, mask_files
from semquery.store import Run
from semquery.views import png_bytes
from semquery.vlm import Answer, Replay, Vlm

SIDE = 480  # of the pictures of an answer, pixels


@dataclass(frozen=True)
class AskRun:
    """How a question is asked; nothing here changes an answer."""

    max_calls: int | None = None
    """Stop after this many requests; the same command goes on from there."""
    ask_anew: bool = False
    """Ask also what is recorded."""

    def __post_init__(self) -> None:
        if self.max_calls is not None and self.max_calls < 0:
            raise ValueError(f"Expected --max-calls ≥ 0; got {self.max_calls}.")


def ask(
    run: Run, scene: Scene, question: str, vlm: Vlm | None = None, config: AskConfig = AskConfig(), how: AskRun = AskRun(), view: str | None = None
) -> AskAnswer:
    """The parts that answer a question. Raises ValueError when the model does not answer, OutOfCalls at `max_calls`."""
    asked = checked_question(checked_text(question, "question"))
    asker = None if vlm is None else asker_for(run, vlm, how)
    return answer_to(asked, scene.subject(view), asker, config)


def asker_for(run: Run, vlm: Vlm, how: AskRun = AskRun()) -> Asker:
    """Who asks the model and keeps its answers in the run. A model that never answered here is tried first."""
    if isinstance(vlm, Replay) and vlm.journal.is_dir():  # a run directory stands for what it was asked
        vlm = replace(vlm, journal=vlm.journal / ASKS)
    if not any(line.get("identity") == vlm.identity for line in json_lines(run / ASKS)):
        print(f"ask: {vlm.check()}")

    def keep(key: str, answer: Answer, seconds: float) -> None:
        run.append_answer(key, answer, vlm.identity, seconds, ASKS)

    return Asker(vlm, {} if how.ask_anew else run.answers(ASKS), keep, how.max_calls)


def write_asked(run: Run, scene: Scene, answer: AskAnswer, config: AskConfig = AskConfig(), view: str | None = None) -> Path:
    """queries/<slug>--ask/: result.json, the masks of all targets together, parts.ply (hit 1 = targets, 2 = anchors), picture.png."""
    folder = answer_folder(run, answer.question, view, "ask")
    masks = scene.masks(answer.targets) if answer.targets else {}
    axes = frame_record(scene.frame(view)) if answer.frame else None
    run.write_json(folder / "result.json", asked_record(scene, answer, sorted(masks), config) | {"view": view, "frame": axes, "masks": mask_files(masks)})
    lit = [scene.points_of(which) for which in (answer.targets, answer.anchors) if which] if answer.targets else []
    run.write_ply(folder / "parts.ply", highlighted_cloud(scene.surface, scene.tree, lit))
    for file, mask in zip(mask_files(masks), masks.values(), strict=True):
        run.write_bytes(folder / file, png_bytes(mask))
    picture = asked_picture(scene.subject(view), answer)
    if picture is not None:
        run.write_bytes(folder / "picture.png", png_bytes(picture))
    return folder


def asked_record(scene: Scene, answer: AskAnswer, views: list[str], config: AskConfig) -> dict:
    """All of an answer as JSON; its parts with their names and, of the targets, boxes in world units."""
    def named(part: int) -> dict:
        return {"part": part, "name": path_names(scene.tree, scene.labels, part)[-1], "path": list(path_names(scene.tree, scene.labels, part))}

    record = asdict(answer) | {
        "targets": [named(part) | {"num_points": len(scene.points_of([part])), "box": box_record(scene.part(part))} for part in answer.targets],
        "relevant": [named(each.part) | {"role": each.role, "why": each.why} for each in answer.relevant],
        "rejected": [named(part) | {"why": why} for part, why in answer.rejected],
    }
    return {"schema": "semquery/ask", "version": 1, "config": as_config(config), "views": views, **record}


def asked_picture(subject: Subject, answer: AskAnswer) -> UInt8[np.ndarray, "h w 3"] | None:
    """Targets outlined in red and anchors in blue, in the two views that show them best, and the first target closely; None where no view does."""
    cells = []
    anchors = [part for part in answer.anchors if part not in answer.targets]
    views = showing(subject, [*answer.targets, *anchors], 2) if answer.targets else []
    for k, view in enumerate(views):
        image = drawn(subject, view, [(anchors, ANCHOR), (answer.targets, CANDIDATE)], SIDE)
        cells.append(captioned(image, (f"“{answer.question[:100]}”" if k == 0 else "") + f" ({view})"))
    best = showing(subject, answer.targets[:1], 1)
    if best:
        mask = subject.laid.mask(best[0], answer.targets[0])
        cells.append(captioned(close_up(subject.photo(best[0]), mask, SIDE), f"{subject.name(answer.targets[0])} ({answer.targets[0]})"))
    return grid(cells, columns=min(3, len(cells))) if cells else None


def asked_in_words(scene: Scene, answer: AskAnswer) -> list[str]:
    """An answer as lines that a person reads."""
    def called(part: int) -> str:
        return f"{' / '.join(path_names(scene.tree, scene.labels, part))} (part {part})"

    lines = [f"“{answer.question[:200]}”"]
    if not answer.targets:
        lines.append(answer.failed or f"Nothing in this scene is meant. {answer.explanation}".rstrip())
    lines += [f"→ {called(part)}" for part in answer.targets]
    lines += [f"  {answer.explanation}"] if answer.targets and answer.explanation else []
    if not answer.failed:
        is_known = not answer.sure_by.startswith("not known")
        lines.append(f"  {100 * answer.sure:.0f} % sure, by {answer.sure_by}" if is_known else f"  how sure is {answer.sure_by}")
    lines += [f"  seen from: {called(each.part)}" + (f", {each.why}" if each.why else "") for each in answer.relevant if each.role == "anchor"][:6]
    lines += [f"  not: {called(part)}" + (f", {why}" if why else "") for part, why in answer.rejected][:6]
    lines += [f"  {step}" for step in answer.steps]
    seen = f"; {answer.frame}" if answer.method.startswith("model") else ""  # the steps of the others say it where it matters
    return [*lines, f"  answered by {answer.method}{seen}"]
