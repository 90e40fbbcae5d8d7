"""The panel from the start of a training on: there before there is a tree, and brought up to date when tree and names come."""

from pathlib import Path

import pytest

pytest.importorskip("nerfstudio.engine.trainer")

from live_viewer import TOP, looking, named_box, open_viewer  # noqa: E402
from training import tiny  # noqa: E402
from viewing import free_port, wait_until  # noqa: E402

from nerfstudio_plugin.outputs import PICTURES  # noqa: E402
from semquery.store import Run  # noqa: E402


def test_names_and_trees_that_come_later_are_shown(trained_box, tmp_path: Path) -> None:
    """The panel is there from the start of a training."""
    run = named_box(trained_box, tmp_path / "named")
    early = Run(tmp_path / "early", create=True)
    with open_viewer(trained_box, early, is_named=False) as viewer:
        panel, page = viewer.pipeline.panel, looking(viewer)
        page.wait_for_frames(2)
        assert panel.session.shown.loaded is None and set(PICTURES) <= set(viewer.control_panel._output_render.options)
        panel.session.search("top face")
        assert panel.session.shown.message and not panel.session.shown.busy
        for name in ("cameras.json", "surface.npz", "parts.npz", "merge.npz", "parts.json", "labels.jsonl"):
            if (run / name).exists():
                (early / name).write_bytes((run / name).read_bytes())
        wait_until(lambda: panel.session.shown.loaded and panel.session.shown.loaded.scene, "the names")
        panel.session.search("top face")
        assert panel.session.shown.lit == (TOP,)
        wait_until(lambda: viewer.control_panel.output_render == "highlight", "the output to change")
        page.wait_for_frames(1)


def test_a_training_ends_with_its_tree_in_the_panel(box_photos: Path, tmp_path: Path) -> None:
    """As `ns-train semquery-tiny --vis viewer`: frames are rendered between the steps, and the tree comes when it is built."""
    config = tiny(box_photos, tmp_path, geometry_steps=20, fit_steps=10)
    config.vis, config.viewer.websocket_port = "viewer", free_port()
    config.save_config()
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    panel, page = trainer.pipeline.panel, looking(trainer.viewer_state)
    try:
        trainer.viewer_state.control_panel._max_res.value = 64
        wait_until(lambda: page.frames, "a frame before the first step")
        assert panel.session.shown.loaded is None
        trainer.train()
        wait_until(lambda: trainer.pipeline.model.pictures.sight, "the tree")
        tree = Run(trainer.base_dir).parts()
        assert panel.session.shown.loaded.tree.num_parts == tree.num_parts and panel.painter.troubles == []
        panel.session.select(tree.root)
        page.wait_for_frames(2)
        wait_until(lambda: trainer.viewer_state.control_panel.output_render == "highlight", "the output to change")
    finally:
        page.machine.running = False
        page.machine.join()
        panel.close()
        trainer.viewer_state.viser_server.stop()
