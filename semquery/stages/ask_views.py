"""From a question to points by what a segmenter sees in views of the scene → queries/<question>--views/.

Each chosen view is asked by itself, and what a segmenter answered is kept in the run's folder segments/: an interrupted question
goes on where it stopped, and the same question about the same views costs nothing again. Needs a surface; the part tree and
its names are used where there are any.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from semquery.lifting import choose_views, sight_of_grid
from semquery.lifting.answer import Answer, ViewsConfig, answer
from semquery.lifting.keep import Dropped
from semquery.lifting.pixels import ColourEdges, PixelEncoder
from semquery.opened.doors import checked_text
from semquery.segmenter import Cached, Context, Region, Segmenter, SegmenterError
from semquery.segmenter.cache import key_of
from semquery.segments import SegmentFolder
from semquery.stages.common import progress
from semquery.store import Run, RunError
from semquery.types import Cameras, NodeLabel, PartTree, Surface
from semquery.views import photo_of

SEGMENTS = "segments"  # of a run: what segmenters answered


@dataclass(frozen=True)
class Viewed:
    """A question, whom it was put to, and the answer."""

    question: str
    views: tuple[str, ...]  # those chosen, in the order of choice
    regions: Mapping[str, list[Region]]  # what each answered; views that failed are missing
    answer: Answer
    surface: Surface
    tree: PartTree | None
    labels: Mapping[int, NodeLabel]
    cameras: Cameras
    segmenter: str  # identity
    encoder: str  # identity of what the spatial loss compares with
    failed: str = ""  # why there is no answer


def ask_views(
    run: Run, question: str, segmenter: Segmenter, config: ViewsConfig = ViewsConfig(), encoder: PixelEncoder = ColourEdges()
) -> Viewed:
    """What the views of a run answer. Raises ValueError when the segmenter cannot be used or fails in every view."""
    asked = " ".join(checked_text(question, "question").split())
    if not asked:
        raise ValueError("The question is empty; ask for something, such as “what would I press to start it?”.")
    surface, cameras = run.surface(), run.cameras()
    tree = run.parts() if (run / "parts.npz").exists() else None
    views = chosen_views(run, surface, cameras, config)
    photo = photo_of(cameras, surface)
    regions, failures = _asked(run, {view: photo(view) for view in views}, asked, segmenter)
    sights = {view: sight_of_grid(surface.point_of_pixel[view]) for view in views}
    found = answer(sights, regions, surface, tree, photo, config, encoder)
    found = _with_failures(found, failures)
    why = "" if found.inside.any() else _why_nothing(found, len(views))
    return Viewed(asked, views, regions, found, surface, tree, run.labels(), cameras, segmenter.identity, encoder.identity, why)


def chosen_views(run: Run, surface: Surface, cameras: Cameras, config: ViewsConfig) -> tuple[str, ...]:
    """The views that are asked: of those that show the surface. Raises RunError where none does."""
    row = {name: k for k, name in enumerate(cameras.names)}
    names = [view for view, point in surface.point_of_pixel.items() if view in row and (point >= 0).any()]
    if not names:
        raise RunError(f"No view of {run.path} shows its surface, so there is nothing to ask about. Make it anew: semquery fit {run.path} --overwrite")
    seen = np.zeros((len(names), len(surface.points)), bool)
    for shown, view in zip(seen, names, strict=True):
        shown[sight_of_grid(surface.point_of_pixel[view]).points] = True
    poses = cameras.T_world_cam[[row[view] for view in names]]
    return tuple(names[k] for k in choose_views(config.choose, seen, poses, config.views_k, config.views_seed))


def _asked(run: Run, photos: Mapping[str, np.ndarray], question: str, segmenter: Segmenter) -> tuple[dict[str, list[Region]], list[Dropped]]:
    """What each view answers; views that failed for good, and why. When nobody is there to answer, nothing further is tried."""
    shelf = SegmentFolder(run / SEGMENTS)
    if any(shelf.find(key_of(image, question, Context(view), segmenter.identity)) is None for view, image in photos.items()):
        print(f"ask: {segmenter.check()}")
    remembering, regions, failures = Cached(segmenter, shelf), {}, []
    for view, image in progress(photos.items(), "ask: views"):
        try:
            regions[view] = remembering.segment(image, question, Context(view))
        except SegmenterError as error:
            if error.is_away:
                raise ValueError(f"{error} Answers so far are kept: the same command goes on from there.") from error
            failures.append(Dropped(view, f"it failed: {error}"))
    if not regions:
        raise ValueError(f"Every view failed; the first, {failures[0].view}: {failures[0].why.removeprefix('it failed: ')}")
    return regions, failures


def _with_failures(found: Answer, failures: list[Dropped]) -> Answer:
    return replace(found, dropped=(*failures, *found.dropped))


def _why_nothing(found: Answer, asked: int) -> str:
    """Why no point is meant, in a sentence."""
    if not found.votes.views:
        return f"None of the {asked} views that were asked shows it: {'; '.join(sorted({each.why for each in found.dropped}))}."
    return f"{len(found.votes.views)} of {asked} views answer, and they do not agree on any point."
