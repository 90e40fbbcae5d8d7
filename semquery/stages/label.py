"""From a part tree to names → labels.jsonl and views/<part>/*.png, and what that would cost.

labels.jsonl holds a line for every answer of a model and a line for every label. Answers are found again by the content
of their request, so a walk that is run again (after an interruption, or after names were given by hand) asks only for
what is missing or was asked in another context.
"""

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from semquery.facts import measure, up_direction
from semquery.labelling import (
    Asker,
    LabelConfig,
    OutOfCalls,
    Subject,
    Walk,
    candidates_of,
    label_parts,
    labels_by_hand,
)
from semquery.labelling.answers import EXAMPLE
from semquery.labelling.estimate import Counting, Estimate, estimate
from semquery.manifest import as_config, sha256
from semquery.portraits import IN_WORDS, PortraitConfig, portraits
from semquery.stages.answer import photo_of
from semquery.stages.common import progress
from semquery.store import Run, RunError
from semquery.types import NodeLabel
from semquery.views import half_size, visible_pixels
from semquery.vlm import Answer, Appearance, Request, Vlm, vlm_from, vlm_record

INPUTS = ("parts.npz", "surface.npz")


@dataclass(frozen=True)
class LabelRun:
    """How the work is done; nothing here changes a name."""

    workers: int = 1
    """Requests at the same time. One worker goes exactly depth first."""
    max_calls: int | None = None
    """Stop after this many requests; the same command goes on from there."""
    only: int | None = None
    """Ask for this part alone, anew, in the context of what its ancestors are called now; naming the tree again may change it."""
    relabel_failed: bool = False
    """Ask again for the parts that have no name because their request failed or their answers could not be read."""
    ask_anew: bool = False
    """Ask also what is recorded; with --overwrite, every question is asked again."""

    def __post_init__(self) -> None:
        if self.workers < 1 or (self.max_calls is not None and self.max_calls < 0):
            raise ValueError(f"Expected --workers ≥ 1 and --max-calls ≥ 0; got {self.workers} and {self.max_calls}.")


def label(
    run: Run, vlm: Vlm = Appearance(), config: LabelConfig = LabelConfig(), how: LabelRun = LabelRun(),
    pictures: PortraitConfig = PortraitConfig(), overwrite: bool = False,
) -> dict[int, NodeLabel]:
    """Name every part, depth first.

    With `overwrite` all labels are made anew, but names given by hand stay, and recorded answers still count. Labels that
    were only measured are replaced unasked. Nothing is touched before the settings and the model have been tried.
    """
    _check_parts(run, how)
    recorded = {"vlm": {"identity": vlm.identity}, "labelling": config, "pictures": pictures}
    anew = overwrite or (named_by(run) == Appearance.identity and vlm.source != "rule")
    todo = anew or _begin(run, recorded, vlm)
    if not todo and not _has_more_to_do(run, vlm, how):
        print("label: already done")
        return run.labels()
    work = _Work(run, vlm, config, how, pictures)
    if vlm.source != "rule":
        print(f"label: {vlm.check()}")
    if anew:
        run.keep_answers_and_labels_by_hand()
        run.begin("label", recorded, INPUTS, overwrite=True, keep=("labels.jsonl",))
    elif not todo and how.only is None:  # a killed process must not leave it marked as done
        run.reopen("label")
    try:
        finished = work.walk()
    finally:
        work.close()
    if finished:
        run.done("label", time.time() - work.start, calls=work.asker.calls, failed=work.num_failed(), by_hand=_by_hand(run), asked=vlm_record(vlm),
                 unknown=sum(given.name == "unknown" for given in run.labels().values()))
    print(work.summary(finished))
    return run.labels()


def estimate_labels(
    run: Run, vlm: Vlm, config: LabelConfig = LabelConfig(), how: LabelRun = LabelRun(),
    pictures: PortraitConfig = PortraitConfig(), prices: tuple[float, float] | None = None,
) -> tuple[Estimate, Path]:
    """What `label` would still cost, without asking anybody, and a folder with one sample request and its pictures."""
    _check_parts(run, how)
    if vlm.source == "rule":
        raise ValueError("Measured names ask nobody, so there is nothing to estimate: name a model, as in vlm:open-ai-server --vlm.model NAME.")
    if how.only is not None:
        raise ValueError("--dry-run counts the whole tree; --only asks for one part: leave out one of them.")
    counting = Counting(vlm.identity)
    asker = Asker(counting, {} if how.ask_anew else run.answers(), lambda key, answer, seconds: None, how.max_calls)
    subject = subject_of(run, config, pictures)
    with suppress(OutOfCalls):  # then what is counted is what --max-calls allows
        label_parts(subject, asker, config, _given(run))
    found = estimate(subject.parts, counting, asker.cached, how.workers, run.seconds_per_call(vlm.identity), prices)
    folder = run / "dry-run"
    if counting.sample is not None:
        write_request(run, folder, counting.sample)
    return found, folder


def write_request(run: Run, folder: Path, request: Request) -> None:
    """request.json and the pictures it names, in the order in which they are sent."""
    turns, number = [], 0
    for turn in request.turns:
        names = [f"{number + k}.png" for k in range(len(turn.images))]
        for name, image in zip(names, turn.images, strict=True):
            run.write_bytes(folder / name, image)
        turns.append({"role": turn.role, "images": names, "text": turn.text})
        number += len(names)
    run.write_json(folder / "request.json", {
        "max_tokens": request.max_tokens, "temperature": request.temperature, "schema": request.schema, "turns": turns})


def subject_of(run: Run, config: LabelConfig, pictures: PortraitConfig = PortraitConfig()) -> Subject:
    """The tree with its measurements and pictures; each picture is drawn once."""
    parts, surface, cameras = run.parts(), run.surface(), run.cameras()
    style = "black" if config.style == "paper" else pictures.style
    supporting = sorted(set(run.masked_views()) & set(surface.point_of_pixel)) or None
    draw = portraits(surface, parts, cameras, photo_of(run, surface), replace(pictures, style=style), supporting)
    drawn: dict[int, tuple[bytes, ...]] = {}

    def shown(part: int) -> tuple[bytes, ...]:
        if part not in drawn:
            drawn[part] = draw(part)
        return drawn[part]

    pixels = visible_pixels(surface, parts)[1]
    most = {p: int(pixels[:, p].max()) if len(pixels) else 0 for p in range(parts.num_parts)}
    facts = measure(surface, parts, up_direction(cameras.T_world_cam))
    return Subject(parts, facts, shown, most, candidates_of(config, shown), half_size, IN_WORDS[style])


def label_by_hand(run: Run, names: Path) -> int:
    """Append names from a JSON file (part number → name, or the edits of a report page); they win over every other label."""
    if not names.is_file():
        raise ValueError(f"There is no file {names}.")
    try:
        record = json.loads(names.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{names} is not JSON ({error}); expected names by part, such as {EXAMPLE}.") from error
    given = labels_by_hand(record, run.parts())
    for named in given:
        run.append_label(named, "")
    return len(given)


def named_by(run: Run) -> str | None:
    """The identity of the model that a run's names come from; None when none was asked yet."""
    last = run.stage("label")
    return last["config"]["vlm"].get("identity") if last is not None else None


def vlm_of(run: Run) -> Vlm | None:
    """The model that named the parts, to be asked again, as it is recorded when all are named; None where none was, or none is."""
    last = run.stage("label")
    record = last.get("asked") if last is not None else None
    return vlm_from(record) if isinstance(record, dict) else None


def _begin(run: Run, recorded: dict, vlm: Vlm) -> bool:
    """Whether there is work. Before the tree is done one may change one's mind: recorded answers are found by what was asked of whom."""
    last, other = run.stage("label"), named_by(run)
    if last is not None and vlm.source == "rule" and other not in (None, vlm.identity):
        raise RunError(
            f"The names in {run.path} are by {other}; measured names would take their place. Name the model again (vlm:…), or give "
            "--overwrite; what the model answered stays recorded."
        )
    unfinished = last is not None and last["event"] == "start" and last["inputs"] == {i: sha256(run / i) for i in INPUTS}
    if unfinished and last["config"] != as_config(recorded):
        return run.begin("label", recorded, INPUTS, overwrite=True, keep=("labels.jsonl", "views"))
    return run.begin("label", recorded, INPUTS, keep=("labels.jsonl",))


@dataclass
class _Work:
    """One go at a run: what is asked, written and shown."""

    run: Run
    vlm: Vlm
    config: LabelConfig
    how: LabelRun
    pictures: PortraitConfig
    start: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.subject = subject_of(self.run, self.config, self.pictures)
        self.asker = Asker(self.vlm, {} if self.how.ask_anew else self.run.answers(), self._write_answer, self.how.max_calls)
        self._journal: dict[int, tuple[NodeLabel, str]] = {}
        self._failed: set[int] = set()
        self._labelled: set[int] = set()
        total = self.subject.parts.num_parts if self.how.only is None else 1
        self._bar = progress(None, "label", total=total)

    def walk(self) -> bool:
        """Whether the whole tree is done now; what is missing is for the next go."""
        self._journal = dict(self.run.label_journal())
        try:
            if self.how.only is not None:
                self._one(self.how.only)
                return False
            fresh = _failed_parts(self.run) if self.how.relabel_failed else ()
            label_parts(self.subject, self.asker, self.config, _given(self.run), self._write_label, fresh, self.how.workers)
        except OutOfCalls:
            return False
        return True

    def _one(self, part: int) -> None:
        """Ask for one part anew; its ancestors keep the names they have, and get one where they have none."""
        parts, known = self.subject.parts, self.run.labels()
        path = {parts.root, *parts.path(part)}
        given = {p: named for p, named in known.items() if p in path and (p != part or named.source == "user")}
        Walk(self.subject, self.asker, replace(self.config.passes, copy_alike=False), given, self._write_label, {part}).run(path)

    def _write_answer(self, key: str, answer: Answer, seconds: float) -> None:
        if self.vlm.source != "rule":  # what is measured costs nothing to measure again
            self.run.append_answer(key, answer, self.vlm.identity, seconds)

    def _write_label(self, label: NodeLabel, key: str) -> None:
        for k, png in enumerate(self.subject.pictures(label.part)):
            self.run.write_bytes(f"views/{label.part}/{k}.png", png)
        held = self._journal.get(label.part)
        if label.source != "user" and (held is None or held[0] != label):
            self.run.append_label(label, key)
            self._journal[label.part] = (label, key)
        self._show(label)

    def _show(self, label: NodeLabel) -> None:
        (self._failed.add if label.status == "failed" else self._failed.discard)(label.part)
        if label.part not in self._labelled:
            self._labelled.add(label.part)
            self._bar.update(1)
        asker, seconds = self.asker, max(time.time() - self.start, 1e-3)
        self._bar.set_postfix_str(
            f"{asker.calls} calls, {asker.cached} recorded, {len(self._failed)} failed, {asker.answer_tokens / seconds:.0f} tokens/s", refresh=False)

    def num_failed(self) -> int:
        return len(_failed_parts(self.run))

    def close(self) -> None:
        self._bar.close()

    def summary(self, finished: bool) -> str:
        labels, asker = self.run.labels(), self.asker
        failed = self.num_failed()
        cost = f"{asker.calls} calls, {asker.cached} answers recorded before"
        if asker.prompt_tokens:
            cached = f"{100 * asker.cached_tokens / asker.prompt_tokens:.0f} % cached"
            cost += f", {asker.prompt_tokens} prompt tokens ({cached}), {asker.answer_tokens} answered"
        lines = [f"label: {len(labels) - failed} parts named, {failed} failed; {cost}"]
        if failed:
            lines.append(f"label: ask again for those that failed with --relabel-failed (why is in {self.run / 'labels.jsonl'})")
        if not finished and self.how.only is None:
            lines.append("label: stopped at --max-calls; the same command goes on from there")
        return "\n".join(lines)


def _given(run: Run) -> dict[int, NodeLabel]:
    """The names given by hand."""
    return {part: named for part, named in run.labels().items() if named.source == "user"}


def _failed_parts(run: Run) -> list[int]:
    return [part for part, named in run.labels().items() if named.status == "failed"]


def _by_hand(run: Run) -> str:
    """Hash of the names given by hand, to see later whether there are new ones."""
    given = [asdict(named) for _, named in sorted(_given(run).items())]
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:16] if given else ""


def _has_more_to_do(run: Run, vlm: Vlm, how: LabelRun) -> bool:
    """Whether a finished run has reason to go on: parts without a label, names by hand that its parts were not told of, or what the user asks for."""
    if how.only is not None or (how.relabel_failed and _failed_parts(run)) or not set(range(run.parts().num_parts)) <= run.labels().keys():
        return True
    last = run.stage("label")
    return vlm.source != "rule" and last is not None and last.get("by_hand", "") != _by_hand(run)


def _check_parts(run: Run, how: LabelRun) -> None:
    num_parts = run.parts().num_parts
    if how.only is not None and not 0 <= how.only < num_parts:
        raise RunError(f"There is no part {how.only}: parts are numbered 0 to {num_parts - 1} (see parts.json or views/).")
