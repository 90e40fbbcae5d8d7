"""The standalone viewer without a browser: the guarded server, where cameras stand, clicks, photos, the tab View, start and end."""

import contextlib
import http.client
import inspect
import io
import re
import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from desk import CENTRE, desk_cameras, desk_run, desk_surface
from helpers import small_run, write_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from viewing import free_port as any_port
from viewing import touch, wait_until

from semquery.cli import main
from semquery.spans import Spans
from semquery.store import Run
from semquery.viewer import app, guarded, photos
from semquery.viewer.cameras import Pose, ball
from semquery.viewer.canvas import Canvas, overview, ray_through, richest_view
from semquery.viewer.colours import LIT
from semquery.viewer.elements import PointElements
from semquery.viewer.loaded import load
from semquery.viewer.session import Session
from semquery.viewer.view_tab import picture_name, png_on

pytest.importorskip("viser", reason="viser is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return desk_run(tmp_path_factory.mktemp("view") / "desk")


@pytest.fixture(scope="module")
def loaded(run):
    return load(run)


@pytest.fixture
def viewer(run):
    opened = app.Viewer(run, app.ViewConfig(port=any_port()))
    yield opened
    opened.stop()


class Scene:
    """A server and its scene that write down what is drawn."""

    def __init__(self):
        self.scene, self.drawn, self.clicks = self, [], {}

    def add_frame(self, name, **_):
        return SimpleNamespace(name=name, visible=True, remove=lambda: self.drawn.append(f"-{name}"), on_click=lambda act: self.clicks.update({name: act}))

    def add_camera_frustum(self, name, fov, aspect, scale, color, image, *_):
        self.drawn.append((name, color, image))
        return SimpleNamespace(on_click=lambda act: self.clicks.update({name: act}))


class Page:
    """A page whose camera can be put somewhere."""

    def __init__(self):
        self.client_id, self.scene = 0, SimpleNamespace(set_up_direction=lambda up: None)
        self.camera = SimpleNamespace(fov=1.0, aspect=1.2, position=np.zeros(3), look_at=np.ones(3), up_direction=np.ones(3))

    def atomic(self):
        return contextlib.nullcontext()


def client_at(pose: Pose, fov: float, aspect: float):
    """A page whose camera is somewhere, as viser tells it."""
    from scipy.spatial.transform import Rotation

    ahead = (pose.look_at - pose.position) / np.linalg.norm(pose.look_at - pose.position)
    right = np.cross(ahead, pose.up) / np.linalg.norm(np.cross(ahead, pose.up))
    x, y, z, w = Rotation.from_matrix(np.stack([right, np.cross(ahead, right), ahead], 1)).as_quat()
    return SimpleNamespace(camera=SimpleNamespace(position=pose.position, wxyz=np.array([w, x, y, z]), fov=fov, aspect=aspect))


def seen_at(client, places) -> np.ndarray:
    """Where a page shows places, 0..1 from its left and top, and how far ahead they are: the slow way, by matrices."""
    from scipy.spatial.transform import Rotation

    w, x, y, z = client.camera.wxyz
    local = np.array([Rotation.from_quat([x, y, z, w]).as_matrix().T @ (place - client.camera.position) for place in places])
    half = np.tan(client.camera.fov / 2)
    return np.stack([(local[:, 0] / local[:, 2] / half / client.camera.aspect + 1) / 2, (local[:, 1] / local[:, 2] / half + 1) / 2, local[:, 2]], 1)


# -------------------------------------------------------------------- whom the server answers


@pytest.mark.parametrize(("path", "headers", "host", "told"), [
    ("/", {"Host": "127.0.0.1:7007"}, "127.0.0.1", ""),
    ("/assets/x.js?y=%20", {"Host": "localhost:8000", "Origin": "http://localhost:8000"}, "127.0.0.1", ""),
    ("/", {"Host": "[::1]:7007"}, "::1", ""),
    ("/", {"Host": "lab.example:7007"}, "0.0.0.0", ""),
    ("/../etc/passwd", {"Host": "127.0.0.1:7007"}, "127.0.0.1", "no such file"),
    ("/%2e%2e/etc/passwd", {"Host": "127.0.0.1:7007"}, "127.0.0.1", "no such file"),
    ("/", {"Host": "attacker.example:7007"}, "127.0.0.1", "on this machine only"),
    ("/", {}, "127.0.0.1", "on this machine only"),
    ("/", {"Host": "127.0.0.1:7007", "Origin": "http://attacker.example"}, "127.0.0.1", "no page of another site"),
    ("/", {"Host": "127.0.0.1:7007", "Origin": "http://127.0.0.1:8888"}, "127.0.0.1", "no page of another site"),
    ("/", {"Host": "lab.example:7007", "Origin": "null"}, "0.0.0.0", "no page of another site"),
])
def test_only_pages_of_its_own_are_answered_and_only_from_this_machine(path, headers, host, told):
    refused = guarded.refusal(path, headers, host)
    assert told in refused and bool(refused) == bool(told)


def ask(port, path, **headers):
    """What the server answers, byte for byte as asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_server_hands_out_its_own_page_and_nothing_else_of_the_machine(viewer):
    status, page = ask(viewer.port, "/")
    assert status == 200 and b"<title>semquery" in page and b"gtag(" not in page and b"googletagmanager" not in page and b'id="root"' in page
    assert b'src="/assets/' in page  # its own scripts stay
    assert ask(viewer.port, "/" + "../" * 12 + "etc/passwd")[0] == 403
    assert ask(viewer.port, "/", Host="attacker.example")[0] == 403
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert ask(viewer.port, "/", Origin="http://attacker.example", **upgrade)[0] == 403
    from viser import _messages

    assert _messages.ShareUrlRequest not in viewer.server._websock_server._incoming_handlers


def test_other_servers_are_made_as_before():
    from websockets import server

    before = server.serve
    guarded.open_server("127.0.0.1", any_port(), "a page").stop()
    assert server.serve is before


def test_a_title_cannot_bring_markup_along():
    page = guarded.own_page("<script>gtag()</script><script src='a.js'></script><title>Viser</title>", "</title><script>1</script> \\1 & co")
    assert page == "<script src='a.js'></script><title>&lt;/title&gt;&lt;script&gt;1&lt;/script&gt; \\1 &amp; co</title>"


def test_a_port_that_is_taken_gives_the_next_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < guarded.free_port("127.0.0.1", port) <= port + guarded.TRIED


# -------------------------------------------------------------------- where cameras stand


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.3, 2.0), st.floats(0.4, 2.5), st.integers(0, 10**6))
def test_a_ray_through_a_pixel_meets_what_is_seen_there(sx, sy, fov, aspect, seed):
    random = np.random.default_rng(seed)
    client = client_at(Pose(random.normal(size=3), 5 + random.normal(size=3), np.array([0.0, 0.0, 1.0])), fov, aspect)
    direction = ray_through(client.camera.wxyz, fov, aspect, (sx, sy))
    assert np.allclose(seen_at(client, [client.camera.position + 7 * direction])[0, :2], (sx, sy), atol=1e-9)


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("fov", [0.6, 1.3])
def test_the_overview_shows_the_whole_scene_and_it_fills_the_page(loaded, fov, aspect):
    client = client_at(overview(loaded, fov, aspect), fov, aspect)
    at = seen_at(client, loaded.surface.points)
    assert (at[:, 2] > 0).all() and (at[:, :2] > 0).all() and (at[:, :2] < 1).all()
    assert np.ptp(at[:, :2], axis=0).max() > 0.4
    farther = overview(loaded, fov, aspect, growth=2.0)
    assert np.allclose(farther.position - farther.look_at, 2 * (client.camera.position - farther.look_at))


def test_the_overview_is_from_the_photo_that_shows_most_parts_and_amid_a_room_is_that_photo(loaded):
    assert richest_view(loaded) == max("abc", key=lambda view: (loaded.spans.num_pixels(view) >= 20).sum() * 10**6 + loaded.spans.num_pixels(view)[4])
    poses = loaded.cameras.T_world_cam.copy()
    poses[:, :3, 3] = CENTRE[2]
    room = replace(loaded, cameras=replace(loaded.cameras, T_world_cam=poses))
    assert np.allclose(overview(room, 1.0, 1.0).position, CENTRE[2])
    nobody = replace(loaded, cameras=replace(loaded.cameras, names=("x", "y", "z")))  # cameras of views without surface
    assert richest_view(nobody) is None and np.isfinite(overview(nobody, 1.0, 1.0).position).all()


def canvas_over(loaded, run):
    session, server = Session(run, loaded), Scene()
    server.add_mesh_simple = lambda *_, **__: None
    server.on_client_connect = lambda act: None
    return Canvas(server, session, PointElements()), session, server


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("explode", [0.0, 1.0])
def test_a_click_selects_the_part_where_it_is_drawn(run, loaded, part, explode):
    canvas, session, server = canvas_over(loaded, run)
    canvas.set_look(explode=explode)
    drawn, _ = canvas.elements.points(session.shown, canvas.look)
    client = client_at(overview(loaded, 1.3, 1.2, growth=2.0), 1.3, 1.2)
    sx, sy, _ = seen_at(client, [drawn[loaded.spans.points_of(part)].mean(0)])[0]
    server.clicks["/sky"](SimpleNamespace(client=client, screen_pos=(sx, sy)))
    assert session.shown.lit == (part,)
    server.clicks["/sky"](SimpleNamespace(client=client, screen_pos=(0.001, 0.001)))
    assert session.shown.lit == ()


def test_a_look_that_cannot_be_drawn_is_refused_and_nothing_changes(run, loaded):
    canvas, session, _ = canvas_over(loaded, run)
    version = session.shown.version
    with pytest.raises(ValueError, match="no features"):
        canvas.set_look(colouring="features")
    assert canvas.look.colouring == "photo" and session.shown.version == version
    canvas.set_look(colouring="parts", point_size=2.0)
    assert (canvas.look.colouring, canvas.look.point_size) == ("parts", 2.0) and session.shown.version > version


def test_a_jump_goes_to_where_the_parts_are_drawn(run, loaded):
    canvas, session, _ = canvas_over(loaded, run)
    gone = []
    canvas.go = lambda client, pose: gone.append(pose)
    for explode in (0.0, 1.0):
        canvas.set_look(explode=explode)
        canvas.jump(client_at(overview(loaded, 1.0, 1.0), 1.0, 1.0), (0,))
        drawn, _ = canvas.elements.points(session.shown, canvas.look)
        client = client_at(gone[-1], 1.0, 1.0)
        assert np.allclose(seen_at(client, [drawn[loaded.spans.points_of(0)].mean(0)])[0, :2], 0.5, atol=0.05)
    assert np.linalg.norm(gone[0].look_at - gone[1].look_at) > 0.1


# -------------------------------------------------------------------- photos


@given(st.integers(0, 200), st.integers(1, 70))
def test_photos_are_picked_evenly_and_each_once(count, most):
    names = [f"view {k}" for k in range(count)]
    picked = photos.chosen(names, set(names[1:]), most)
    assert picked == sorted(set(picked)) and len(picked) == min(most, max(0, count - 1)) and 0 not in picked
    if len(picked) > 1:
        steps = np.diff(picked)
        assert picked[0] == 1 and picked[-1] == count - 1 and steps.max() - steps.min() <= 1


def test_a_photo_is_read_small_and_one_that_is_gone_is_painted_from_the_surface(tmp_path):
    surface, _ = desk_surface()
    image, is_photo = photos.small_photo(write_photo(tmp_path / "a.png", (300, 600)), "a", surface, 160)
    assert is_photo and image.shape == (80, 160, 3) and np.abs(image.astype(int) - (10, 200, 30)).max() <= 2
    Image.new("RGB", (4000, 3000), (10, 200, 30)).save(tmp_path / "large.jpg")
    image, is_photo = photos.small_photo(tmp_path / "large.jpg", "a", surface, 160)
    assert is_photo and image.shape == (120, 160, 3) and np.abs(image.astype(int) - (10, 200, 30)).max() <= 4
    clear = photos.small_photo(write_photo(tmp_path / "clear.png", (8, 8), (10, 200, 30, 0)), "a", surface, 160)[0]
    assert (clear == 255).all()
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    for path in (tmp_path / "broken.jpg", tmp_path / "gone.jpg", tmp_path):
        image, is_photo = photos.small_photo(path, "a", surface, 24)
        assert not is_photo and image.shape == (24, 24, 3)


def test_photos_are_drawn_once_and_again_only_where_their_outline_changes(run, loaded):
    session, server = Session(run, loaded), Scene()
    touched = threading.Event()
    drawn = photos.Photos(server, touched.set, lambda client, pose: None)
    drawn.paint(session.shown, False)
    assert server.drawn == [] and drawn.told() == ""
    drawn.paint(session.shown, True)
    wait_until(lambda: len(drawn.thumbnails.images) == 3, "the thumbnails")
    assert touched.wait(60) and "3 photos; click one" in drawn.told() and "3 cannot be read any more" in drawn.told()
    drawn.paint(session.shown, True)
    assert [name for name, *_ in server.drawn] == ["/photos/0", "/photos/1", "/photos/2"]
    drawn.paint(session.shown, True)
    assert len(server.drawn) == 3
    session.select(0)
    drawn.paint(session.shown, True)
    assert len(server.drawn) == 6
    for name, color, image in server.drawn[3:]:
        mask = loaded.spans.mask("abc"[int(name[-1])], 0)
        is_outlined = (np.abs(image.astype(int) - LIT) <= 1).all(-1)
        assert color == LIT and is_outlined.any() and not (is_outlined & mask).any()
    server.clicks["/photos/1"](SimpleNamespace(client=client_at(overview(loaded, 1.0, 1.0), 1.0, 1.0)))
    drawn.paint(session.shown, True)
    assert [name for name, *_ in server.drawn[6:]] == ["/photos/1"]
    drawn.clear()
    assert server.drawn[-1] == "-/photos" and drawn.thumbnails is None


@pytest.mark.parametrize(("fov", "aspect"), [(1.3, 1.0), (0.5, 2.0), (1.0, 0.4)])
def test_before_a_photo_its_picture_fills_the_page(fov, aspect):
    cameras = desk_cameras()
    camera, size = photos.frustum(cameras, 1), photos.size_of(cameras)
    depth, half = photos.depth_of(camera.fov, camera.aspect, size), np.tan(camera.fov / 2)
    x, y, z = half * camera.aspect, half, 1.0  # as viser's page works out its frustum
    assert depth == pytest.approx(size * z / np.cbrt(x * y * z / 3.0))
    right, up, back = cameras.T_world_cam[1, :3, :3].T
    corners = [cameras.T_world_cam[1, :3, 3] + depth * (-back + i * x * right + j * y * up) for i in (-1, 1) for j in (-1, 1)]
    at = seen_at(client_at(photos.pose_before(cameras, 1, fov, aspect), fov, aspect), corners)[:, :2]
    assert (np.abs(at - 0.5) <= 0.5).all() and np.abs(at - 0.5).max() == pytest.approx(photos.MARGIN / 2, abs=1e-6)


# -------------------------------------------------------------------- the tab View


def test_the_widgets_of_the_tab_are_the_look_of_the_canvas(viewer):
    told = []
    client = SimpleNamespace(add_notification=lambda title, body, **_: told.append(body))
    touch(viewer.tab.explode, 0.5, client)
    touch(viewer.tab.point_size, 2.0, client)
    assert (viewer.canvas.look.explode, viewer.canvas.look.point_size) == (0.5, 2.0)
    touch(viewer.tab.colouring, "features", client)
    assert "no features" in told[0] and viewer.canvas.look.colouring == viewer.tab.colouring.value == "photo"
    viewer.canvas.set_look(explode=0.25, colouring="relevancy")
    assert viewer.painter.settle(60.0) and viewer.tab.explode.value == 0.25 and "no relevancy before" in viewer.tab.note.handle.content
    touch(viewer.tab.photos, True, client)
    wait_until(lambda: "click one to look from there" in viewer.tab.note.handle.content, "the number of photos")
    assert viewer.painter.troubles == []


def test_a_screenshot_is_called_after_what_it_shows(run, loaded):
    session = Session(run, loaded)
    assert picture_name(session.shown) == "semquery-scene.png"
    session.search("the left knob!")
    assert re.fullmatch(r"semquery-the-left-knob(-\w{8})?\.png", picture_name(session.shown))
    session.select(1)
    assert picture_name(session.shown) == "semquery-panel-right-knob.png"


def test_a_screenshot_has_the_background_of_the_page():
    image = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    read = np.asarray(Image.open(io.BytesIO(png_on(image, (20, 20, 20)))))
    assert read.tolist() == [[[200, 100, 0], [20, 20, 20], [56, 36, 16]]]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_on(image[..., :3], (0, 0, 0))))), image[..., :3])


# -------------------------------------------------------------------- start and end


def test_a_viewer_ends_with_all_its_threads(run):
    before = set(threading.enumerate())
    viewer = app.Viewer(run, app.ViewConfig(port=any_port()))
    assert viewer.address == f"http://127.0.0.1:{viewer.port}" and app.greeting(viewer)[0] == "view: 2640 points, 5 parts, 5 names"
    viewer.session.search("left knob")
    assert viewer.painter.settle(60.0) and viewer.session.shown.lit == (0,)
    assert viewer.stop(60.0)
    ours = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("semquery")]
    assert ours == [] and viewer.painter.troubles == []
    with pytest.raises(OSError):
        wait_until(lambda: ask(viewer.port, "/")[0] != 200)


def test_a_run_without_a_tree_is_opened_and_shown_when_the_tree_comes(tmp_path):
    run = small_run(tmp_path / "run")
    tree = (run / "parts.npz").read_bytes()
    (run / "parts.npz").unlink()
    viewer = app.Viewer(run, app.ViewConfig(port=any_port()))
    try:
        assert f"semquery tree {run.path}" in app.greeting(viewer)[0] and "as soon as it is there" in app.greeting(viewer)[1]
        assert viewer.painter.settle(60.0) and f"semquery tree {run.path}" in viewer.session.shown.message
        assert len(viewer.canvas.waiting.surface.points) == 12 and viewer.canvas._framed is viewer.canvas.waiting.surface, "seen in one piece"
        (run / "new.npz").write_bytes(tree)
        (run / "new.npz").rename(run / "parts.npz")
        wait_until(lambda: viewer.session.shown.loaded is not None, "the tree")
        assert viewer.painter.settle(60.0) and viewer.painter.troubles == []
        assert f"semquery label {run.path}" in viewer.session.shown.message
    finally:
        viewer.stop()


def test_being_told_to_end_ends_it_and_a_second_time_interrupts(run, capsys, monkeypatch):
    import os
    import signal

    ending = {}

    def end_soon(event):
        ending["event"] = event
        os.kill(os.getpid(), signal.SIGTERM)

    greeting = app.greeting
    monkeypatch.setattr(app, "greeting", lambda viewer: (end_soon(viewer), greeting(viewer))[1])
    before = signal.getsignal(signal.SIGTERM)
    assert app.run_viewer(run, app.ViewConfig(port=any_port()), query="left knob") == 0
    assert signal.getsignal(signal.SIGTERM) is before and (said := capsys.readouterr().out) and "Ctrl-C ends it" in said and said.endswith("view: ended\n")
    with app.told_to_end() as end:
        os.kill(os.getpid(), signal.SIGINT)
        assert end.wait(60)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            end.clear()
            end.wait(60)


def test_a_first_query_that_finds_nothing_is_told_on_the_terminal(run, loaded, capsys):
    session = Session(run, loaded)
    app.first_query(session, "submarine")
    assert session.shown.message and capsys.readouterr().out == f"view: {session.shown.message}\n"
    app.first_query(session, "left knob")
    assert "submarine" not in capsys.readouterr().out


def test_a_port_that_is_taken_is_told_with_the_one_that_is_used(viewer):
    viewer.config = replace(viewer.config, port=viewer.port - 1)
    assert f"view: port {viewer.port - 1} is taken; the page is at port {viewer.port}" in app.greeting(viewer)


def test_listening_for_others_is_said_to_be_unsafe(viewer):
    viewer.config = replace(viewer.config, host="0.0.0.0")
    assert "there is no password" in "\n".join(app.greeting(viewer)) and viewer.address.startswith("http://127.0.0.1:")


def test_a_callback_that_never_ends_does_not_keep_the_viewer_from_ending(run):
    viewer, answered = app.Viewer(run, app.ViewConfig(port=any_port())), threading.Event()
    viewer.server._websock_server._thread_executor.submit(answered.wait)
    assert not viewer.stop(0.2)
    answered.set()


def grown(loaded, by: float):
    """The same run in another unit."""
    surface = replace(loaded.surface, points=loaded.surface.points * np.float32(by), voxel_size=loaded.surface.voxel_size * by)
    poses = loaded.cameras.T_world_cam.copy()
    poses[:, :3, 3] *= by
    return replace(loaded, surface=surface, cameras=replace(loaded.cameras, T_world_cam=poses), spans=Spans(loaded.tree, surface))


@pytest.mark.parametrize("by", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("explode", [0.0, 1.0])
def test_a_scene_in_any_unit_is_drawn_in_a_size_that_the_page_shows_and_clicked_where_it_is_drawn(run, loaded, by, explode):
    scene = grown(loaded, by)
    canvas, session, server = canvas_over(scene, run)
    page, sent = Page(), []
    server.set_up_direction, server.get_clients = lambda up: None, lambda: {0: page}
    server.add_point_cloud = lambda name, points, colors, position, **how: (sent.append((points + position, how)), SimpleNamespace(visible=True))[1]
    canvas.set_look(explode=explode)
    session.set_level(1)
    canvas.paint(session.shown)
    assert canvas.look.scale == (1.0 if by == 1.0 else pytest.approx(2 / ball(scene, (scene.tree.root,))[1]))
    num, places = len(scene.surface.points), np.concatenate([points for points, _ in sent])
    drawn = np.concatenate([points for points, how in sent if how["visible"]])
    expected = canvas.look.scale * canvas.elements.points(session.shown, canvas.look)[0]
    assert len(drawn) == num and np.allclose(np.sort(drawn, 0), np.sort(expected, 0), atol=1e-4) and 0.2 < np.abs(places).max() < 150
    assert sent[0][1]["point_size"] == pytest.approx(canvas.look.scale * canvas.look.point_size * scene.surface.voxel_size)
    client = client_at(Pose(page.camera.position, page.camera.look_at, page.camera.up_direction), page.camera.fov, page.camera.aspect)
    for part in (2, 3):
        at = seen_at(client, [expected[scene.spans.points_of(part)].mean(0)])[0]
        server.clicks["/sky"](SimpleNamespace(client=client, screen_pos=tuple(at[:2])))
        assert session.shown.lit == (part,)


def test_a_scene_put_together_again_is_put_before_the_pages_that_saw_it_apart_once(run, loaded):
    canvas, _, server = canvas_over(loaded, run)
    page = Page()
    server.get_clients = lambda: {0: page}
    canvas.reset(page)
    near = page.camera.position
    canvas.set_look(explode=0.5)
    assert np.array_equal(page.camera.position, near), "taking apart moves no camera"
    canvas.reset(page)
    assert np.linalg.norm(page.camera.position - page.camera.look_at) > 1.4 * np.linalg.norm(near - page.camera.look_at)
    canvas.set_look(explode=0.2)
    far = page.camera.position
    canvas.set_look(explode=0.0)
    assert not np.array_equal(far, near) and np.allclose(page.camera.position, near)
    page.camera.position = far  # by hand
    canvas.set_look(point_size=2.0)
    assert np.array_equal(page.camera.position, far)


@pytest.mark.parametrize(("arguments", "told"), [
    (["gone"], "There is no run directory at gone."),
    (["EMPTY"], "has nothing of a run in it"),
    (["RUN", "--port", "0"], "--port is 0; expected a number from 1 to 65535."),
    (["RUN", "--port", "70000"], "--port is 70000; expected a number from 1 to 65535."),
    (["RUN", "--host", "nowhere.invalid"], "--host nowhere.invalid is no address of this machine"),
    (["RUN", "--host", "192.0.2.1"], "--host 192.0.2.1 is no address of this machine"),
    (["RUN", "--host", ""], "--host is empty"),
    (["RUN", "--mesh", "gone.ply"], "gone.ply"),
    (["RUN", "--splats", "gone.ply"], "gone.ply"),
    (["RUN", "--splats-transform", "t.json"], "--splats SCENE.ply"),
    (["RUN", "--mesh", "a.ply", "--splats", "b.ply"], "give one of them"),
    (["RUN", "--splats", "b.ply", "--reach", "-1"], "--reach is -1"),
    (["RUN", "--query", "   "], "query"),
])
def test_what_cannot_be_opened_is_one_line_and_two_before_anything_starts(arguments, told, run, tmp_path, capsys, monkeypatch):
    def never(*_):
        raise AssertionError("a server was started")

    monkeypatch.setattr(app, "open_server", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["view", *(a.replace("RUN", str(run.path)).replace("EMPTY", str(tmp_path / "empty")) for a in arguments)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("semquery view: ") and told in said and "\n" not in said and "Traceback" not in said


def test_help_teaches_and_names_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["view", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "ssh -L" in said and "7007" in said and "127.0.0.1" in said and "there is no password" in said and "--splats-transform" in said
    assert {"run", "vlm", "config", "query", "open"} == set(inspect.signature(app.run_viewer).parameters) - {"show"} | {"open"}


def test_cameras_stay_where_they_are_when_only_names_or_the_tree_change(run, loaded):
    canvas, session, server = canvas_over(loaded, run)
    page, gone = client_at(overview(loaded, 1.0, 1.0), 1.0, 1.0), []
    page.scene = server
    server.set_up_direction, server.get_clients = lambda up: None, lambda: {0: page}
    canvas.elements, canvas.go = SimpleNamespace(paint=lambda *_: None), lambda client, pose: gone.append(pose)
    for shown_loaded, moves in ((loaded, 1), (replace(loaded, labels={}), 1), (replace(loaded, tree=replace(loaded.tree)), 1),
                                (replace(loaded, surface=replace(loaded.surface)), 2)):
        session.refresh(shown_loaded)
        canvas.paint(session.shown)
        assert len(gone) == moves


def test_elements_are_points_unless_something_else_is_given(loaded, tmp_path):
    assert isinstance(app.elements_of(app.ViewConfig(), loaded), PointElements)
    with pytest.raises(ValueError, match="--reach"):
        app.elements_of(app.ViewConfig(reach=0.1), loaded)
