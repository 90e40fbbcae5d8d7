"""Nerfstudio's viewer with the panel, live: what its render thread shows, threads that cross, and a real browser."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("nerfstudio.engine.trainer")

from live_viewer import BLUE_PAIR, BOX, NAMES, RED_PAIR, TOP, WEST, looking, named_box, open_viewer  # noqa: E402
from viewing import PATIENCE, address_of, open_browser, visiting, wait_until  # noqa: E402

from nerfstudio_plugin.outputs import PICTURES  # noqa: E402
from nerfstudio_plugin.panel import PLAIN  # noqa: E402
from semquery.opened import Scene  # noqa: E402
from semquery.store import Run  # noqa: E402
from semquery.viewer import MODES, Session, load  # noqa: E402


@pytest.fixture(scope="module")
def run(trained_box, tmp_path_factory) -> Run:
    return named_box(trained_box, tmp_path_factory.mktemp("named") / "box")


@pytest.fixture(scope="module")
def opened(trained_box, run):
    with open_viewer(trained_box, run) as viewer:
        yield viewer


@pytest.fixture
def viewer(opened):
    """As if it had just been opened; its painter must have had no trouble."""
    opened.control_panel._output_render.value = PLAIN if PLAIN in opened.control_panel._output_render.options else "not set"
    yield opened
    for machine in opened.render_statemachines.values():
        machine.running = False
        machine.join()
    opened.render_statemachines.clear()
    assert opened.pipeline.panel.painter.troubles == []


@pytest.fixture
def session(viewer) -> Session:
    session = viewer.pipeline.panel.session
    session.clear()
    session.set_mode("tint")
    session.set_level(2)
    session.set_heat(0.5, False)
    return session


def view(viewer, number: int = 8) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The outputs of a training view as they are shown now, and the face that each pixel shows well inside of it; -1 = none."""
    assert viewer.pipeline.panel.painter.settle(PATIENCE)
    model, loaded = viewer.pipeline.model, viewer.pipeline.panel.session.shown.loaded
    camera = viewer.pipeline.datamanager.train_dataset.cameras[number : number + 1]
    with viewer.train_lock:  # a render thread puts the model back into training when its frame is done
        viewer.pipeline.eval()
        watched, model.pictures.watched = model.pictures.watched, lambda: frozenset(PICTURES)
        outputs = model.get_outputs_for_camera(camera)
        model.pictures.watched = watched
    rays = camera.generate_rays(camera_indices=0)
    ends = model.frame.to_capture(rays.origins + rays.directions * outputs["depth"]).numpy()
    away = np.linalg.norm(ends[:, :, None] - loaded.surface.points, axis=-1)
    ends_there = (outputs["accumulation"][..., 0].numpy() > 0.9) & (away.min(-1) < model.pictures.sight.scenery.reach)
    face = np.where(ends_there, loaded.tree.part_of_point[away.argmin(-1)], -1)
    return {name: outputs[name].reshape(-1, 3).numpy() for name in ("rgb", *PICTURES)}, inside(face).reshape(-1)


def inside(face: np.ndarray) -> np.ndarray:
    """The faces of pixels whose neighbours show the same; -1 for the others."""
    from scipy.ndimage import maximum_filter, minimum_filter

    return np.where(minimum_filter(face, 3) == maximum_filter(face, 3), face, -1)


def change(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of colours, 0..1."""
    return float(np.abs(one - other).mean())


# ------------------------------------------------------------------------------------- what is shown


def test_the_selection_is_tinted_where_its_face_is(viewer, session) -> None:
    before, face = view(viewer)
    assert (face == TOP).sum() > 20 and ((face >= 0) & (face != TOP)).sum() > 20
    np.testing.assert_array_equal(before["highlight"], before["rgb"])
    session.select(TOP)
    drawn, _ = view(viewer)
    magenta = drawn["highlight"][:, [0, 2]].mean(1) - drawn["highlight"][:, 1] > 0.25
    assert magenta[face == TOP].mean() > 0.9 and magenta[(face >= 0) & (face != TOP)].mean() < 0.1
    np.testing.assert_array_equal(drawn["rgb"], before["rgb"])  # metrics read it


def test_a_part_alone_leaves_nothing_else_and_a_hidden_one_nothing_of_itself(viewer, session) -> None:
    session.select(TOP)
    plain, face = view(viewer)
    is_top, is_other = face == TOP, (face >= 0) & (face != TOP)
    session.set_mode("isolate")
    alone, _ = view(viewer)
    assert change(alone["highlight"][is_top], plain["rgb"][is_top]) < change(0 * plain["rgb"][is_top], plain["rgb"][is_top]) / 2
    assert alone["highlight"][is_other].mean() < 0.3 * plain["rgb"][is_other].mean()
    session.set_mode("hide")
    hidden, _ = view(viewer)
    assert change(hidden["highlight"][is_top], plain["rgb"][is_top]) > 3 * change(hidden["highlight"][is_other], plain["rgb"][is_other])
    session.select(BOX)
    left = view(viewer)[0]["highlight"].max(1)
    assert left.mean() < 0.01 and (left > 0.1).mean() < 0.01  # nothing is left


def test_the_level_changes_how_many_colours_the_parts_have(viewer, session) -> None:
    def hues() -> int:
        drawn, face = view(viewer)
        colour = drawn["parts"] / np.maximum(drawn["parts"].max(1, keepdims=True), 1e-6)
        means = np.array([np.median(colour[face == k], axis=0) for k in range(6) if (face == k).any()])
        return len(np.unique(means.round(1), axis=0))

    session.set_level(0)
    assert hues() == 1
    session.set_level(2)
    assert hues() >= 3


def test_relevancy_is_hot_where_the_query_fits(viewer, session) -> None:
    session.search("top face")
    session.set_heat(threshold=0.9, normalise=True)
    drawn, face = view(viewer)
    colourful = np.ptp(drawn["relevancy"], axis=1) > 0.3
    assert colourful[face == TOP].mean() > 0.8 and colourful[(face >= 0) & (face != TOP)].mean() < 0.2
    session.set_heat(threshold=0.0)
    drawn, _ = view(viewer)
    assert (np.ptp(drawn["relevancy"], axis=1) > 0.3)[face >= 0].mean() > 0.8


def test_what_nobody_looks_at_is_not_worked_out(viewer, session, monkeypatch) -> None:
    page = looking(viewer)
    page.wait_for_frames(2)
    asked: list[int] = []
    monkeypatch.setattr(type(viewer.pipeline.model.feature_field), "forward", lambda self, points: asked.append(len(points)))
    page.wait_for_frames(2)
    assert viewer.control_panel.output_render == "rgb" and asked == []


def test_a_click_on_a_known_point_selects_the_part_that_the_surface_says(viewer, session) -> None:
    """By a ray of viser's scene."""
    loaded, frame, eye = session.shown.loaded, viewer.pipeline.model.frame, np.array([3.0, 3.0, 3.0])
    points = 10 * frame.to_trainer(torch.from_numpy(loaded.surface.points).double()).numpy()
    towards = (points - points.mean(0)) @ (eye - points.mean(0))
    for point in np.argsort(-towards)[:5]:  # nearest to the camera: nothing lies before them
        ray = (points[point] - eye) / np.linalg.norm(points[point] - eye)
        viewer.pipeline.panel.pick(eye, ray)
        assert session.shown.part == loaded.tree.part_of_point[point]


# ------------------------------------------------------------------------------------- threads


def test_frames_and_clicks_go_on_while_a_query_hangs(viewer, session, monkeypatch) -> None:
    page, begun, free, query = looking(viewer), threading.Event(), threading.Event(), Scene.query

    def hanging(scene, text, *rest, **options):
        begun.set()
        assert free.wait(120)
        return query(scene, text, *rest, **options)

    monkeypatch.setattr(Scene, "query", hanging)
    asking = threading.Thread(target=session.search, args=("top face",))
    asking.start()
    assert begun.wait(60) and session.shown.busy
    page.wait_for_frames(5)
    session.select(WEST)
    assert viewer.pipeline.panel.painter.settle(PATIENCE) and session.shown.lit == (WEST,)
    page.wait_for_frames(2)
    free.set()
    asking.join(60)
    assert session.shown.lit == (WEST,) and not session.shown.busy  # overtaken


def test_five_hundred_random_actions_while_frames_are_rendered(viewer, session, run, monkeypatch) -> None:
    died: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: died.append(told.exc_value))
    pages = [looking(viewer)]
    loaded = session.shown.loaded
    again = load(run)  # another tree, as if it had been made anew
    output = viewer.control_panel._output_render

    def act(seed: int, times: int) -> None:
        random = np.random.default_rng(seed)
        actions = [
            lambda: session.search(str(random.choice(NAMES))), lambda: session.select(int(random.integers(10))), session.clear,
            lambda: session.set_mode(str(random.choice(MODES))), lambda: session.set_level(int(random.integers(4))), session.up, session.down,
            lambda: session.set_heat(float(random.random()), bool(random.integers(2))), lambda: session.choose(int(random.integers(3))),
            lambda: session.click(random.normal(size=3) * 3, random.normal(size=3)), lambda: session.refresh((loaded, again)[random.integers(2)]),
            lambda: setattr(output, "value", str(random.choice(["rgb", *PICTURES]))), pages[0].move,
        ]
        for _ in range(times):
            actions[random.integers(len(actions))]()

    pages[0].wait_for_frames(1)  # the outputs are known from the first one on
    threads = [threading.Thread(target=act, args=(seed, 125)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    painter = viewer.pipeline.panel.painter
    assert painter.settle(PATIENCE) and painter.troubles == [] and died == []
    assert not session.shown.busy
    pages[0].wait_for_frames(3)
    session.refresh(loaded)
    session.set_mode("tint")
    session.select(TOP)
    drawn, face = view(viewer)
    assert change(drawn["highlight"][face == TOP], drawn["rgb"][face == TOP]) > 0.1  # what was said last is shown


# ------------------------------------------------------------------------------------- a browser


def field(page, label: str):
    """The input beside a label."""
    return page.locator(f"xpath=(//*[normalize-space(text())='{label}']/following::input)[1]")


def magenta_pixels(path: Path) -> int:
    from PIL import Image

    red, green, blue = np.asarray(Image.open(path).convert("RGB")).astype(int).transpose(2, 0, 1)
    return int(((red > 120) & (blue > 90) & (green < 90) & (red > green + 60)).sum())


def test_a_browser_searches_clicks_walks_and_exports(viewer, session, run, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    with open_browser() as browser, visiting(browser, address_of(viewer.viser_server)) as visit:
        page = visit.page
        wait_until(field(page, "Find").count, "the panel")
        page.get_by_text("Hide Train Cams").click()
        client = wait_until(lambda: next(iter(viewer.viser_server.get_clients().values()), None), "the page's camera")
        wait_until(lambda: "64" in page.get_by_text("Resolution").first.inner_text(), "a sharp frame")
        visit.shot(shot)
        assert magenta_pixels(shot) < 500

        def answered() -> bool:
            """Typed again where the page was just being told what stands in the field."""
            field(page, "Find").fill("")
            field(page, "Find").fill("top face")
            page.wait_for_timeout(3000)
            return session.shown.lit == (TOP,)

        wait_until(answered, "the answer")
        wait_until(lambda: field(page, "Output type").input_value() == "highlight", "the output to change")
        wait_until(lambda: (visit.shot(shot), magenta_pixels(shot))[1] > 2000, "the face to light up")

        session.clear()
        def clicked() -> int | None:
            """The part that was clicked; None where the page was still finding its layout, so that one clicks again."""
            box = page.locator("canvas").first.bounding_box()
            point, (x, y) = nearest_point(session.shown.loaded, viewer.pipeline.model.frame, client.camera, box)
            page.mouse.click(x, y)
            page.wait_for_timeout(1000)
            return int(session.shown.loaded.tree.part_of_point[point]) if session.shown.lit else None

        before = client.camera.wxyz.copy()
        part = wait_until(lambda: None if (found := clicked()) is None else (found,), "the click")[0]
        assert session.shown.lit == (part,)
        page.mouse.move(300, 300)
        page.mouse.down()
        page.mouse.move(380, 300, steps=8)
        page.mouse.up()
        wait_until(lambda: abs(client.camera.wxyz - before).max() > 1e-3, "the camera to be turned by dragging")
        assert session.shown.lit == (part,)
        page.get_by_text("Parent", exact=True).first.click()
        pair = RED_PAIR + part // 2
        wait_until(lambda: session.shown.lit == (pair,), "the parent")
        assert pair in range(RED_PAIR, BLUE_PAIR + 1)
        wait_until(lambda: page.get_by_text(NAMES[pair]).count(), "the card")

        page.get_by_role("tab", name="Export").first.click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Export", exact=True).first.click()
        download.value.save_as(tmp_path / "parts.zip")
        assert (tmp_path / "parts.zip").stat().st_size > 1000 and list((run / "export").rglob("*.ply"))
        assert visit.told == []


def nearest_point(loaded, frame, camera, box) -> tuple[int, tuple[float, float]]:
    """A surface point that the camera sees well inside of a face, and where on the page it is."""
    import viser.transforms as vtf
    from scipy.spatial import cKDTree

    points = 10 * frame.to_trainer(torch.from_numpy(loaded.surface.points).double()).numpy()
    x, y, z = vtf.SO3(np.asarray(camera.wxyz)).inverse().as_matrix() @ (points - camera.position).T
    near = cKDTree(points).query_ball_point(points, 4 * 10 * loaded.surface.voxel_size * scale_of(frame))
    is_inside = np.array([len(np.unique(loaded.tree.part_of_point[rows])) == 1 for rows in near])
    point = int(np.where(is_inside, z, np.inf).argmin())  # of these the nearest to the camera, so that nothing lies before it
    focal = box["height"] / 2 / np.tan(camera.fov / 2)
    middle = box["height"] * camera.aspect / 2  # the panel covers the rest of the width
    return point, (box["x"] + middle + focal * x[point] / z[point], box["y"] + box["height"] / 2 + focal * y[point] / z[point])


def scale_of(frame) -> float:
    """Of the trainer's frame to the capture's."""
    return float(torch.linalg.det(frame.matrix[:3, :3])) ** (1 / 3)
