"""`semquery ask --method views` on a run: what is asked, what is written, what is kept, and what is said when something is missing."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from helpers import named_run, small_cameras, small_parts, small_run, small_surface
from PIL import Image
from plyfile import PlyData

from semquery import stages
from semquery.cli import main
from semquery.lifting import FuseConfig
from semquery.lifting.answer import ViewsConfig, trunk_of
from semquery.lifting.head import DistillConfig, load_head
from semquery.segmenter import Context, Noisy, Oracle, SegmenterError
from semquery.store import Run, RunError

KNOB, PANEL = "What would I turn on the left?", "What is it mounted on?"
PARTS = small_parts()
TRUTH = {view: np.where(point >= 0, PARTS.part_of_point[point], -1) for view, point in small_surface().point_of_pixel.items()}
ORACLE = Oracle(TRUTH, {KNOB: frozenset({0}), PANEL: frozenset({0, 1, 3}), "Where is the piano?": frozenset({99})})
BARE = ViewsConfig(snap=False, min_area=0.0, doubt=0.0)


@dataclass
class Counting:
    """Another segmenter, and what it was asked."""

    inner: object
    fails: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    @property
    def identity(self):
        return "counting"

    def check(self):
        return "counting"

    def segment(self, image, query, context=Context()):
        self.asked.append(context.view)
        if context.view in self.fails:
            raise self.fails[context.view]
        return self.inner.segment(image, query, context)


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path / "run")


def written(run, viewed, config=BARE):
    folder = stages.write_viewed(run, viewed, config)
    return folder, json.loads((folder / "result.json").read_text())


# what is answered and written


def test_what_exact_views_point_at_is_found_on_the_surface_and_written(run):
    viewed = stages.ask_views(run, KNOB, ORACLE, BARE)
    assert np.flatnonzero(viewed.answer.inside).tolist() == [0, 1, 2, 3]
    folder, record = written(run, viewed)
    assert folder == run / "queries" / "what-would-i-turn-on-the-left--views"
    assert record["schema"] == "semquery/ask-views" and record["method"] == "views" and record["weighed_by"] == "tokens" and record["num_points"] == 4
    assert sorted(each["view"] for each in record["views"]) == ["above", "close", "front"] and record["dissent"] == [] and record["failed"] == ""
    assert np.isclose(sum(each["weight"] for each in record["views"]), 1, atol=1e-3) and record["explanation"].startswith("“What would I turn")
    for view in ("front", "close", "above"):
        mask = np.asarray(Image.open(folder / "masks" / f"{view}.png"))
        assert (mask == np.isin(run.surface().point_of_pixel[view], [0, 1, 2, 3])).all()
        assert (np.asarray(Image.open(folder / "said" / f"{view}.png")) == (TRUTH[view] == 0)).all()
    cloud = PlyData.read(str(folder / "parts.ply"))["vertex"]
    assert cloud["hit"].tolist() == [1] * 4 + [0] * 8 and cloud["belief"][:4].min() == 1
    assert (folder / "picture.png").exists() and not (folder / "head.safetensors").exists()


def test_the_parts_that_the_views_mean_answer_with_all_their_points(tmp_path):
    run = named_run(tmp_path / "run")
    viewed = stages.ask_views(run, PANEL, ORACLE, replace(BARE, snap=True))
    assert viewed.answer.parts == (3,) and viewed.answer.inside.sum() == 8
    _, record = written(run, viewed)
    assert record["parts"] == [{"part": 3, "path": ["panel"]}] and record["snap_iou"] == 1
    assert "→ panel (part 3)" in stages.viewed_in_words(viewed)


def test_a_mask_that_is_like_no_part_stays_a_mask(run):
    half = Oracle({view: np.where(point >= 0, np.isin(point, [0, 4, 7, 8]).astype(int), -1) for view, point in run.surface().point_of_pixel.items()}, {KNOB: frozenset({1})})
    viewed = stages.ask_views(run, KNOB, half, replace(BARE, snap=True, least_snap=0.9))
    assert viewed.answer.parts == () and np.flatnonzero(viewed.answer.inside).tolist() == [0, 4, 7, 8] and viewed.answer.snap_iou < 0.9
    assert "→ 4 points; no part of the tree is like them" in stages.viewed_in_words(viewed)


def test_views_that_mean_another_part_are_believed_less_and_named(run):
    """In one view of three another part is answered; which one the seed decides."""
    noisy = Noisy(ORACLE, "hallucinate", 1 / 3, seed=0)
    wrong = next(iter(noisy.spoiled(KNOB)))
    config = ViewsConfig(snap=False, min_area=0.0)
    viewed = stages.ask_views(run, KNOB, noisy, config)
    record = {each["view"]: each for each in written(run, viewed, config)[1]["views"]}
    assert record[wrong]["weight"] < 0.01 and record[wrong]["dissents"] and viewed.answer.dissent == (wrong,)
    assert viewed.answer.inside[np.setdiff1d(np.arange(12), [0, 1, 2, 3])].sum() == 0 and viewed.answer.inside[0]
    told = "\n".join(stages.viewed_in_words(viewed))
    assert f"{wrong}: believed 0 %, but sees it otherwise" in told and "as far as their tokens agree" in told


def test_the_published_way_believes_a_lone_view_and_ours_does_not(run):
    noisy = Noisy(ORACLE, "hallucinate", 1 / 3, seed=0)
    published = stages.ask_views(run, KNOB, noisy, replace(BARE, power=1.0))
    ours = stages.ask_views(run, KNOB, noisy, replace(BARE, power=8.0, doubt=0.25))
    assert published.answer.weighed.weights.min() > ours.answer.weighed.weights.min()
    assert published.answer.fused.mask[4:].max() > ours.answer.fused.mask[4:].max()


def test_what_was_left_out_is_told_with_the_reason(run):
    above = replace(BARE, max_area=0.2)
    viewed = stages.ask_views(run, PANEL, ORACLE, above)
    record = written(run, viewed, above)[1]
    assert {each["view"] for each in record["dropped"]} == {"front"} and "covers 44.4 % of the picture" in record["dropped"][0]["why"]
    assert {each["view"]: each["weight"] for each in record["views"]}["front"] is None
    assert any(line.startswith("  front: left out, it covers") for line in stages.viewed_in_words(viewed))


def test_fewer_views_are_asked_if_so_wished_and_the_answer_says_how_many(run):
    config = replace(BARE, views_k=2, choose="visibility")
    model = Counting(ORACLE)
    viewed = stages.ask_views(run, KNOB, model, config)
    assert list(viewed.views) == model.asked == ["front", "above"]
    assert stages.viewed_in_words(viewed)[-1].startswith("  2 of 3 views asked (counting)")


def test_where_no_view_shows_it_nothing_is_meant_and_it_is_said_why(run):
    viewed = stages.ask_views(run, "Where is the piano?", ORACLE, BARE)
    folder, record = written(run, viewed)
    assert record["failed"] == "None of the 3 views that were asked shows it: nothing is seen there." and record["num_points"] == 0 and record["box"] is None
    assert not (folder / "masks").exists() and (folder / "picture.png").exists()
    assert record["failed"] in stages.viewed_in_words(viewed)


def test_a_run_without_a_tree_is_asked_all_the_same(tmp_path):
    run = Run(tmp_path / "bare", create=True)
    run.write_cameras(small_cameras())
    run.write_surface(small_surface())
    viewed = stages.ask_views(run, KNOB, ORACLE, ViewsConfig(min_area=0.0))
    assert np.flatnonzero(viewed.answer.inside).tolist() == [0, 1, 2, 3] and viewed.answer.parts == ()
    assert PlyData.read(str(written(run, viewed)[0] / "parts.ply"))["vertex"]["part"].max() == 0


# learning


def test_a_head_that_was_distilled_is_saved_with_its_projection_and_answers_again(run):
    random = np.random.default_rng(0)
    part = run.surface().features.shape[1]
    assert part == 0
    features = np.eye(4)[PARTS.part_of_point.clip(0, 3)] + 0.05 * random.normal(size=(12, 4))
    surface = replace(run.surface(), features=(features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float16))
    run.write_surface(surface)
    config = replace(BARE, distill=True, views_k=1, choose="visibility", head=DistillConfig(steps=80, batch=64, width=16, spatial=0.0))
    one = {"front": np.where(TRUTH["front"] == 0, np.where(run.surface().point_of_pixel["front"] == 3, -1, 0), TRUTH["front"])}
    viewed = stages.ask_views(run, KNOB, Oracle(one, {KNOB: frozenset({0})}), config)
    assert np.flatnonzero(viewed.answer.fused.mask > 0.5).tolist() == [0, 1, 2]
    folder, record = written(run, viewed, config)
    tensors, facts = run.read_tensors(str((folder / "head.safetensors").relative_to(run.path)))
    assert record["distilled"] and tensors["token.weight"].shape[0] == 16 and facts["question"] == KNOB
    again = load_head(trunk_of(run.surface(), config.head), tensors)
    assert np.allclose(again.scores(viewed.answer.token), viewed.answer.belief)
    assert viewed.answer.inside[[0, 1, 2]].all() and not viewed.answer.inside[7:11].any()


# what is kept


def test_an_interrupted_question_goes_on_and_the_same_one_costs_nothing_again(run):
    model = Counting(ORACLE, {"close": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        stages.ask_views(run, KNOB, model, BARE)
    before = list(model.asked)
    model.fails.clear()
    first = stages.ask_views(run, KNOB, model, BARE)
    assert model.asked == [*before, *(view for view in first.views if view not in before[:-1])] and len(model.asked) == 4
    again = stages.ask_views(run, KNOB, model, BARE)
    assert len(model.asked) == 4 and (again.answer.inside == first.answer.inside).all() and any((run / "segments").iterdir())
    stages.ask_views(run, PANEL, model, BARE)
    assert len(model.asked) == 7


def test_a_view_that_fails_is_left_out_and_told(run):
    model = Counting(ORACLE, {"close": SegmenterError("the answer cannot be read")})
    viewed = stages.ask_views(run, KNOB, model, BARE)
    assert [each.view for each in viewed.answer.dropped] == ["close"] and "it failed: the answer cannot be read" in viewed.answer.dropped[0].why
    assert viewed.answer.inside.sum() == 4 and {each["view"]: each["regions"] for each in written(run, viewed)[1]["views"]}["close"] is None


def test_when_nobody_is_there_or_every_view_fails_that_is_an_error(run):
    with pytest.raises(ValueError, match="is away. Answers so far are kept"):
        stages.ask_views(run, KNOB, Counting(ORACLE, {view: SegmenterError("The server is away.", is_away=True) for view in TRUTH}), BARE)
    with pytest.raises(ValueError, match="Every view failed; the first, [^ ]*: refused"):
        stages.ask_views(run, KNOB, Counting(ORACLE, {view: SegmenterError("refused") for view in TRUTH}), BARE)


# what is refused


def test_what_cannot_be_asked_is_said_in_a_sentence(run, tmp_path):
    with pytest.raises(ValueError, match="The question is empty"):
        stages.ask_views(run, "  ", ORACLE, BARE)
    with pytest.raises(ValueError, match="views-k is 0"):
        ViewsConfig(views_k=0)
    with pytest.raises(ValueError, match="min-score"):
        ViewsConfig(min_score=-1.0)
    with pytest.raises(ValueError, match="doubt is 7"):
        ViewsConfig(doubt=7.0)
    with pytest.raises(RunError, match="no surface.npz yet"):
        stages.ask_views(Run(tmp_path / "empty", create=True), KNOB, ORACLE, BARE)
    blind = Run(tmp_path / "blind", create=True)
    blind.write_cameras(small_cameras())
    blind.write_surface(replace(small_surface(), point_of_pixel={"front": np.full((6, 6), -1, np.int32)}))
    with pytest.raises(RunError, match="No view of .* shows its surface"):
        stages.ask_views(blind, KNOB, ORACLE, BARE)


def test_all_settings_of_fusing_and_keeping_are_settings_of_asking_by_views():
    config = ViewsConfig(power=3.0, min_score=0.9)
    assert isinstance(config, FuseConfig) and config.power == 3 and config.min_score == 0.9


# the command


def test_the_command_lifts_masks_that_were_made_elsewhere(run, tmp_path, capsys):
    for view, parts in TRUTH.items():
        Image.fromarray((255 * (parts == 0)).astype(np.uint8)).save(tmp_path / f"{view}.png")
    command = ["ask", str(run.path), KNOB, "--method", "views", "--min-area", "0", "segmenter:recorded", "--segmenter.folder", str(tmp_path)]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "→ part 3 / part 0 (part 0)" in told and "as far as their masks agree" in told and "--views/picture.png" in told
    for view in TRUTH:
        Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / f"{view}.png")
    assert main([*command[:3], "--method", "views", "segmenter:recorded", "--segmenter.folder", str(tmp_path)]) == 1
    assert "None of the 3 views" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "said"), [
    (["--method", "views"], "lisa or segmenter:recorded (docs"), (["segmenter:recorded", "--segmenter.folder", "."], "only with --method views"),
    (["--method", "views", "--power", "0", "segmenter:recorded", "--segmenter.folder", "."], "power of the attention is 0")])
def test_a_command_that_makes_no_sense_is_refused(run, more, said, capsys):
    assert main(["ask", str(run.path), KNOB, *more]) == 2
    assert said in capsys.readouterr().err
