"""The panel's side of nerfstudio's viewer: frames, camera, outputs, and who is asked; over a made-up viewer with a real viser server."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from helpers import named_run, random_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from viewing import PATIENCE, open_server, wait_until

pytest.importorskip("nerfstudio.engine.trainer")

from test_plugin_sam import parsed  # noqa: E402

from nerfstudio_plugin.capture import Frame  # noqa: E402
from nerfstudio_plugin.outputs import PICTURES, Scenery, Sight, TreePictures, lit_parts  # noqa: E402
from nerfstudio_plugin.panel import AskedServer, PartPanel, captured_ray, drawn_pose  # noqa: E402
from semquery import stages  # noqa: E402
from semquery.spans import Spans  # noqa: E402
from semquery.store import Run  # noqa: E402
from semquery.types import Surface  # noqa: E402
from semquery.viewer.cameras import Pose  # noqa: E402
from semquery.viewer.words import escaped  # noqa: E402
from semquery.vlm import OpenAiServer  # noqa: E402


class Machine:
    """A render thread that only takes notes."""

    def __init__(self, client) -> None:
        self.client, self.actions = client, []

    def action(self, action) -> None:
        self.actions.append(action)


class Control:
    """Nerfstudio's control panel, as far as outputs go."""

    def __init__(self) -> None:
        self._output_render = SimpleNamespace(value="rgb", options=["rgb", "depth", *PICTURES])
        self.split, self.split_output_render = False, "depth"

    @property
    def output_render(self) -> str:
        return self._output_render.value


class Viewer:
    """What the panel takes of nerfstudio's viewer."""

    def __init__(self, server) -> None:
        self.viser_server, self.ready, self.control_panel = server, True, Control()
        self.stats_markdown = server.gui.add_markdown("Step: 0")
        self.tabs = server.gui.add_tab_group()
        camera = SimpleNamespace(wxyz=np.array([1.0, 0, 0, 0]), position=np.zeros(3), fov=0.8, aspect=1.5)
        self.render_statemachines = {0: Machine(SimpleNamespace(camera=camera)), 1: Machine(SimpleNamespace(camera=camera))}

    def get_camera_state(self, client):
        return client.camera

    @property
    def rerenders(self) -> list[int]:
        return [len(machine.actions) for machine in self.render_statemachines.values()]


def similarity(seed: int = 3) -> torch.Tensor:
    torch.manual_seed(seed)
    matrix = torch.eye(4, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    matrix[:3, :3], matrix[:3, 3] = 0.2 * turn * torch.linalg.det(turn).sign(), torch.randn(3, dtype=torch.float64)
    return matrix


def model_over(run: Path | None):
    pictures, matrix = TreePictures(), similarity()
    pictures.run = run
    return SimpleNamespace(pictures=pictures, T_train_capture=matrix, frame=Frame(matrix), device="cpu")


@pytest.fixture
def viewer():
    with open_server() as server:
        yield Viewer(server)


@pytest.fixture
def panel(viewer, tmp_path):
    made = PartPanel(model_over(named_run(tmp_path / "run").path))
    made._setup(viewer)
    wait_until(lambda: made.session.shown.loaded, "the run to be read")
    yield made
    made.close()


def settled(panel: PartPanel) -> PartPanel:
    assert panel.painter.settle(PATIENCE) and panel.painter.troubles == []
    return panel


# ------------------------------------------------------------------------------------- outputs


def test_a_selection_moves_who_looks_at_the_picture_to_the_highlight_and_back(viewer, panel) -> None:
    output = viewer.control_panel._output_render
    panel.session.search("left knob")
    settled(panel)
    assert panel.session.shown.lit == (0,) and output.value == "highlight"
    panel.session.clear()
    settled(panel)
    assert output.value == "rgb"


def test_the_panel_says_which_run_it_shows_and_exports_into(viewer, panel) -> None:
    assert escaped(f"Run: {panel.session.run.path}") in panel.place.handle.content and panel.session.run.path.is_absolute()


def test_who_looks_at_something_else_is_left_there(viewer, panel) -> None:
    output = viewer.control_panel._output_render
    output.value = "depth"
    panel.session.select(1)
    settled(panel)
    assert output.value == "depth"
    output.value = "rgb"  # by hand, with something selected
    panel.session.set_heat(threshold=0.9)
    settled(panel)
    assert output.value == "rgb"
    panel.session.select(2)
    settled(panel)
    assert output.value == "highlight"


def test_before_the_first_frame_there_is_no_highlight_to_move_to(viewer, panel) -> None:
    output = viewer.control_panel._output_render
    output.options, output.value = ["not set"], "not set"
    panel.session.select(1)
    settled(panel)
    assert output.value == "not set"
    output.options, output.value = ["rgb", "highlight"], "rgb"
    panel.painter.repaint()
    settled(panel)
    assert output.value == "highlight"


def test_every_change_is_rendered_for_every_page(viewer, panel) -> None:
    settled(panel)
    before = viewer.rerenders
    panel.session.set_level(1)
    settled(panel)
    assert all(after > count for after, count in zip(viewer.rerenders, before, strict=True))
    viewer.render_statemachines.pop(1)  # a page is closed
    panel.session.set_level(2)
    settled(panel)
    viewer.ready = False  # nerfstudio is still being made
    before = viewer.rerenders
    panel.session.set_level(1)
    settled(panel)
    assert viewer.rerenders == before


def test_only_pictures_that_are_looked_at_are_worked_out(viewer, panel) -> None:
    control = viewer.control_panel
    wanted = lambda: panel.model.pictures.now.wanted  # noqa: E731
    assert wanted() == frozenset()
    control._output_render.value = "parts"
    assert wanted() == {"parts"}
    control.split, control.split_output_render = True, "relevancy"
    assert wanted() == {"parts", "relevancy"}


def test_a_frame_shows_what_it_began_with(panel) -> None:
    panel.session.select(0)
    settled(panel)
    pictures = panel.model.pictures
    with pictures.frame() as frame:
        panel.session.select(2)
        settled(panel)
        assert pictures.now is frame and frame.sight.is_lit.tolist() == [True, False, False, False, False]
    assert pictures.now.sight.is_lit.tolist() == [False, False, True, False, False]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_what_is_lit_is_what_a_slow_walk_up_the_tree_says(seed: int, num_parts: int) -> None:
    random = np.random.default_rng(seed)
    tree = random_parts(random, num_parts, 50)
    zeros = np.zeros((50, 3), np.float32)
    surface = Surface(zeros, zeros, zeros.astype(np.uint8), np.zeros((50, 0), np.float16), np.arange(50, dtype=np.int32), 1.0)
    lit = tuple(int(part) for part in random.integers(0, num_parts, random.integers(1, 4)))
    shown = SimpleNamespace(loaded=SimpleNamespace(tree=tree, spans=Spans(tree, surface)), lit=lit)

    def is_lit(part: int) -> bool:
        return part in lit or (part != tree.root and is_lit(int(tree.parents[part])))

    assert lit_parts(shown).tolist() == [is_lit(part) for part in range(num_parts)]


@pytest.mark.parametrize("mode", ["isolate", "hide"])
def test_a_cut_is_made_of_what_is_selected(panel, mode: str) -> None:
    panel.session.select(2)
    panel.session.set_mode(mode)
    cut, model = settled(panel).model.pictures.sight.cut, panel.model
    surface, tree = panel.session.shown.loaded.surface, panel.session.shown.loaded.tree
    kept = cut(model.frame.to_trainer(torch.from_numpy(surface.points).double()))[:, 0].numpy()
    is_plate = tree.points_of(2)
    np.testing.assert_array_equal(kept, is_plate if mode == "isolate" else ~is_plate)
    panel.session.set_mode("tint")
    assert settled(panel).model.pictures.sight.cut is None


# ------------------------------------------------------------------------------------- frames


def test_a_click_comes_back_to_the_captures_frame() -> None:
    frame = Frame(similarity())
    points = torch.randn(2, 3, dtype=torch.float64)
    eye, there = frame.to_trainer(points).numpy()
    ray = tuple((there - eye) / np.linalg.norm(there - eye))
    origin, direction = captured_ray(10 * eye, ray, frame)
    np.testing.assert_allclose(origin, points[0], atol=1e-6)
    wanted = (points[1] - points[0]).numpy()
    np.testing.assert_allclose(direction / np.linalg.norm(direction), wanted / np.linalg.norm(wanted), atol=1e-6)


def test_a_pose_is_drawn_ten_times_as_large_as_it_is_trained() -> None:
    frame = Frame(similarity())
    pose = Pose(np.array([1.0, 2, 3]), np.array([0.0, -1, 0]), np.array([0.0, 0, 1]))
    drawn = drawn_pose(pose, frame)
    back = lambda vector: frame.to_capture(torch.from_numpy(vector) / 10).numpy()  # noqa: E731
    np.testing.assert_allclose(back(drawn.position), pose.position, atol=1e-6)
    np.testing.assert_allclose(back(drawn.look_at), pose.look_at, atol=1e-6)
    np.testing.assert_allclose(drawn.up, frame.matrix[:3, :3].numpy() @ pose.up / 0.2, atol=1e-6)


def test_the_camera_jumps_to_a_part(viewer, panel) -> None:
    """What it then looks at is the part's own middle, in viser's coordinates."""
    from contextlib import nullcontext

    client = SimpleNamespace(camera=SimpleNamespace(fov=0.8, aspect=1.5), atomic=nullcontext)
    panel.jump(client, (2,))
    surface, tree = panel.session.shown.loaded.surface, panel.session.shown.loaded.tree
    plate = 10 * panel.model.frame.to_trainer(torch.from_numpy(surface.points[tree.points_of(2)]).double()).numpy()
    assert (client.camera.look_at >= plate.min(0) - 1e-6).all() and (client.camera.look_at <= plate.max(0) + 1e-6).all()
    assert np.linalg.norm(client.camera.position - client.camera.look_at) > np.linalg.norm(np.ptp(plate, axis=0)) / 2


# ------------------------------------------------------------------------------------- opening and closing


def test_the_panel_stands_between_the_line_of_state_and_the_tabs(viewer, panel) -> None:
    folder = viewer.viser_server.gui._container_handle_from_id[panel.panel.tabs._parent_container_id]
    assert viewer.stats_markdown.order < folder._order < viewer.tabs._order


def test_a_tree_that_comes_later_is_shown(viewer, tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    panel = PartPanel(model_over(tmp_path / "later"))
    panel._setup(viewer)
    try:
        assert settled(panel).session.shown.loaded is None and panel.model.pictures.now.sight is None
        named_run(tmp_path / "made")
        for path in sorted((tmp_path / "made").iterdir()):
            path.rename(tmp_path / "later" / path.name)
        wait_until(lambda: panel.model.pictures.sight, "the tree")
        assert panel.model.pictures.sight.scenery.tree.num_parts == 5
    finally:
        panel.close()


def test_names_that_change_keep_the_tables_of_the_tree(panel) -> None:
    scenery = settled(panel).model.pictures.sight.scenery
    stages.label_by_hand(panel.session.run, hand_written(panel.session.run, {"2": "shelf"}))
    wait_until(lambda: panel.session.shown.loaded.name(2) == "shelf", "the name")
    assert settled(panel).model.pictures.sight.scenery is scenery


def hand_written(run: Run, names: dict[str, str]) -> Path:
    import json

    (run / "by_hand.json").write_text(json.dumps(names))
    return run / "by_hand.json"


def test_when_it_is_closed_pictures_are_made_from_the_run(viewer, panel) -> None:
    threads = [panel.painter._thread, panel._watch._thread]
    panel.close()
    assert not any(thread.is_alive() for thread in threads)
    now = panel.model.pictures.now
    assert now.wanted == frozenset(PICTURES) and now.sight.scenery.tree.num_parts == 5
    panel._setup(viewer)  # and it can be opened again
    wait_until(lambda: panel.model.pictures.is_live and panel.model.pictures.sight, "the run to be read")


@pytest.mark.parametrize("moved", [True, False])
def test_without_a_run_there_is_no_panel(viewer, tmp_path: Path, moved: bool, capsys) -> None:
    panel = PartPanel(model_over(tmp_path / "gone" if moved else None))
    panel._setup(viewer)
    assert panel.session is None and not panel.model.pictures.is_live
    assert "Was it moved?" in " ".join(capsys.readouterr().out.split()) and not (tmp_path / "gone").exists()
    panel.close()


def test_a_scene_without_features_has_no_basis(tmp_path: Path) -> None:
    run = named_run(tmp_path / "run")
    scenery = Scenery(run.surface(), run.parts()).prepare()
    assert scenery.basis is None and scenery.reach >= 3 * 0.5
    assert Sight(scenery, np.zeros((5, 3), np.uint8)).is_lit is None


# ------------------------------------------------------------------------------------- who is asked


def test_nobody_is_asked_unless_a_model_is_named() -> None:
    assert parsed("--data", "scene").pipeline.vlm.vlm is None
    config = parsed("--data", "scene", "--pipeline.vlm.model", "big", "--pipeline.vlm.base-url", "http://localhost:1234/v1", "--pipeline.geometry-steps", "7")
    assert config.pipeline.vlm.vlm == OpenAiServer("http://localhost:1234/v1", "big") and config.pipeline.geometry_steps == 7
    assert yaml.load(yaml.dump(config.pipeline), Loader=yaml.Loader).vlm == AskedServer("big", "http://localhost:1234/v1")


def test_runs_saved_before_there_was_a_panel_still_open() -> None:
    config = parsed("--data", "scene").pipeline
    config.__dict__.pop("vlm")
    assert yaml.load(yaml.dump(config), Loader=yaml.Loader).vlm == AskedServer()


def test_the_named_model_is_asked_and_else_the_one_that_named_the_parts(viewer, tmp_path: Path, monkeypatch) -> None:
    run, labelled = named_run(tmp_path / "run"), OpenAiServer(model="that named the parts")
    monkeypatch.setattr(stages, "vlm_of", lambda run: labelled)
    for asked, wanted in ((AskedServer(), "that named the parts"), (AskedServer("big"), "big")):
        panel = PartPanel(model_over(run.path), asked)
        panel._setup(viewer)
        wait_until(lambda panel=panel: panel.session.shown.loaded, "the run to be read")
        assert panel.session.vlm.model == wanted
        panel.close()
