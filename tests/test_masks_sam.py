"""Masks by SAM, SAM-HQ, SAM2 and the SAM3 tracker: tiny random checkpoints, opened and asked by the code users run."""

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from checkpoints_sam import EVERYTHING, FAMILIES, SIDE, write_checkpoint
from helpers import write_photo
from safetensors.torch import load_file

from semquery import stages
from semquery.masks import MaskFolder, MaskSource, Regions, Sam, checkpoint, containing_mask, everywhere, identity
from semquery.masks.checkpoint import points_that_fit
from semquery.masks.grid import points_on
from semquery.store import Run, RunError

WIDE = (36, 64)  # 16:9
UNASKED: list[str] = []  # attempts to reach the network while a test says that there must be none


def watch(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.getaddrinfo") and watch.on:
        UNASKED.append(f"{event} {arguments}")


watch.on = False
sys.addaudithook(watch)  # a hook cannot be taken away again; it is silent unless a test switches it on


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam")
    return {family: write_checkpoint(family, folder / family) for family in FAMILIES}


@pytest.fixture(autouse=True)
def closed():
    yield
    Sam().close()


@pytest.fixture(params=FAMILIES)
def model(request, checkpoints):
    return sam_of(checkpoints[request.param]).open()


def cut(file, length) -> None:
    """Keep so many bytes of a file, or such a part of it."""
    whole = file.read_bytes()
    file.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])


def torn_copy(source, folder, length=0.5):
    shutil.copytree(source, folder)
    cut(folder / "model.safetensors", length)
    return folder


def sam_of(folder, **settings) -> Sam:
    return Sam(str(folder), **{"device": "cpu", "points_per_side": 4, **EVERYTHING, **settings})


def photo(size=WIDE, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)


# ------------------------------------------------------------------ checkpoints of every family


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_every_family_makes_masks_without_touching_the_network(checkpoints, family, monkeypatch):
    monkeypatch.setattr(watch, "on", True)
    UNASKED.clear()
    source = sam_of(checkpoints[family])
    source.check(["view"])
    stack = source("view", photo())
    assert stack.size == WIDE and stack.num_masks >= 4 and stack.masks().any((1, 2)).all() and not UNASKED
    assert ((stack.scores >= 0) & (stack.scores <= 1)).all() and source.open().family == family
    again = source("another name", photo())
    assert again.layers.tolist() == stack.layers.tolist() and again.scores.tolist() == stack.scores.tolist()


def test_a_video_checkpoint_is_asked_for_pictures(checkpoints, tmp_path):
    """As the hub's SAM2 checkpoints call themselves."""
    folder = shutil.copytree(checkpoints["sam2"], tmp_path / "video")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "sam2_video", "architectures": ["Sam2VideoModel"]}))
    expected = sam_of(checkpoints["sam2"])("view", photo())
    assert sam_of(folder)("view", photo()).layers.tolist() == expected.layers.tolist() and sam_of(folder).open().family == "sam2_video"


def test_the_watch_on_the_network_sees_an_attempt(monkeypatch):
    import socket

    monkeypatch.setattr(watch, "on", True)
    UNASKED.clear()
    with socket.socket() as line, pytest.raises(OSError):
        line.settimeout(0.01)
        line.connect(("127.0.0.1", 1))
    assert len(UNASKED) == 1


def test_points_land_where_the_picture_of_their_place_lands(model):
    """A bright dot in the photo is where its point is, in the square that the model sees: all families, wide and high frames."""
    for height, width in (WIDE, (64, 36)):
        points = points_on(np.array([0, 0, width, height]), 4)
        for k in (0, 7, 12):
            dotted = np.zeros((height, width, 3), np.uint8)
            x, y = points[k]
            dotted[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
            encoded = model.encode(dotted, points)
            pixels = model.processor(images=dotted, return_tensors="pt")["pixel_values"][0].mean(0)
            rows, columns = encoded.fitted or pixels.shape
            bright = (pixels[:rows, :columns] - pixels.min()) ** 2  # without the padding, which is grey
            rows, columns = np.indices(bright.shape) + 0.5
            centre = [float((bright * torch.from_numpy(axis)).sum() / bright.sum()) for axis in (columns, rows)]
            assert encoded.points[k].tolist() == pytest.approx(centre, abs=1.6)


def test_points_cover_every_quadrant_of_a_wide_frame(model):
    """Each quadrant of the photo gets a quarter of the points, up to its outer sides."""
    side = SIDE[model.family]
    points = model.encode(photo(), points_on(np.array([0, 0, 64, 36]), 8)).points.numpy()
    high = side * 36 / 64 if model.family in ("sam", "sam_hq") else side  # padded below, or squashed into the square
    quarter = points < np.array([side / 2, high / 2])
    assert [int((quarter == q).all(1).sum()) for q in ([1, 1], [0, 1], [1, 0], [0, 0])] == [16] * 4
    np.testing.assert_allclose([points.min(0), points.max(0)], [[side / 16, high / 16], [side * 15 / 16, high * 15 / 16]], rtol=0.02)


def test_low_masks_are_enlarged_to_the_frame_without_the_padding(model):
    """A low mask that is on in the left half of the photo is on there in the result, and its lower border is the frame's."""
    encoded = model.encode(photo(), points_on(np.array([0, 0, 64, 36]), 2))
    low, _ = model.ask(encoded, 0, 1)
    drawn = torch.full_like(low[:1], -8.0)
    drawn[:, :, : low.shape[2] // 2] = 8.0
    logits = model.enlarge(encoded, drawn, (18, 32))
    assert logits.shape == (1, 18, 32) and (logits[0, :, :15] > 0).all() and (logits[0, :, 17:] < 0).all()


def test_low_masks_are_enlarged_as_the_processor_would(model):
    encoded = model.encode(photo(), points_on(np.array([0, 0, 64, 36]), 2))
    low, _ = model.ask(encoded, 0, 4)
    fitted = [] if encoded.fitted is None else [[list(encoded.fitted)]]
    theirs = model.processor.post_process_masks([low[None]], [list(WIDE)], *fitted, binarize=False)[0]
    torch.testing.assert_close(model.enlarge(encoded, low, WIDE), theirs.reshape(-1, *WIDE))


@pytest.mark.parametrize("crop_layers", [0, 1])
def test_the_encoder_runs_once_a_crop_however_many_batches_are_asked(model, crop_layers):
    runs, asked = [], []
    hooks = [model.model.vision_encoder.register_forward_hook(lambda *_: runs.append(1)),
             model.model.mask_decoder.register_forward_hook(lambda *_: asked.append(1))]
    small_batches = dataclasses.replace(model, batches=checkpoint.Batches(5))
    everywhere.masks_of_photo(Sam(points_per_side=4, crop_layers=crop_layers, **EVERYTHING), small_batches, photo())
    for hook in hooks:
        hook.remove()
    crops = 1 + 4 * crop_layers
    assert len(runs) == crops and len(asked) == 4 * crops  # 16 points, 5 at a time


def test_answers_do_not_depend_on_the_batch(model):
    encoded = model.encode(photo(), points_on(np.array([0, 0, 64, 36]), 3))
    whole, parts = model.ask(encoded, 0, 9), [model.ask(encoded, k, min(k + 2, 9)) for k in range(0, 9, 2)]
    for k in (0, 1):
        torch.testing.assert_close(whole[k], torch.cat([part[k] for part in parts]), atol=1e-4, rtol=1e-4)
    assert len(whole[1]) == (9 if model.family == "sam_hq" else 27), "HQ refines the best of three masks"


def test_memory_that_runs_out_halves_the_batch_and_changes_no_mask(checkpoints, monkeypatch):
    source = sam_of(checkpoints["sam2"])
    expected, model = source("view", photo()), source.open()
    tried = []

    def small_memory(_, arguments, keywords):
        tried.append(keywords["input_points"].shape[1])
        if tried[-1] > 5:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with model.model.register_forward_pre_hook(small_memory, with_kwargs=True):
        found = source("view", photo())
    assert tried == [16, 8, 4, 4, 4, 4] and model.batches.size == 4
    assert found.num_masks == expected.num_masks and (found.masks() == expected.masks()).mean() > 0.999


def test_as_many_points_as_half_the_memory_holds():
    assert [points_that_fit(free, 100) for free in (10, 1000, 20_000)] == [1, 5, 100]
    from transformers import SamConfig

    config = SamConfig()
    assert 70e6 < checkpoint.bytes_per_point(config) < 100e6  # measured: 34 (SAM), 51 (SAM2), 72 (SAM-HQ) MB a point


def test_an_encoder_in_half_precision_answers_nearly_the_same(checkpoints):
    for family in FAMILIES:
        full, half = (sam_of(checkpoints[family], precision=p).open() for p in ("float32", "bfloat16"))
        answers = [m.ask(m.encode(photo(), points_on(np.array([0, 0, 64, 36]), 3)), 0, 9) for m in (full, half)]
        for one, other in zip(*answers, strict=True):
            assert other.dtype == torch.float32
            assert (one - other).abs().max() < 0.05 * max(1e-3, one.abs().max()), family


# ------------------------------------------------------------------ from answers to masks


def painted(shapes, size, monkeypatch) -> checkpoint.Segmenter:
    """A model that answers every point with the shapes under it: what is left to do is the generator's own work.

    Each shape is a mask of the photo, the IoU the model predicts, and how sharp it is. Crops are told apart by their
    first pixel, which holds its number in the photo.
    """
    model = checkpoint.Segmenter("painted", "sam2", None, None, torch.device("cpu"), torch.float32, checkpoint.Batches(7))

    def encode(_, crop, points):
        number = crop[0, 0].astype(int) @ [1, 256, 65536]
        return checkpoint.Encoded({"corner": divmod(number, size[1]), "size": crop.shape[:2]}, torch.from_numpy(points).float(), None)

    def ask(_, encoded, start, stop):
        (top, left), (height, width) = encoded.embeddings["corner"], encoded.embeddings["size"]
        low, scores = [], []
        for x, y in encoded.points[start:stop].numpy():
            for mask, score, sharpness in shapes:
                if mask[top + int(y), left + int(x)]:
                    low.append(np.where(mask, sharpness, -sharpness)[top : top + height, left : left + width])
                    scores.append(score)
        return torch.tensor(np.array(low).reshape(-1, height, width), dtype=torch.float32), torch.tensor(scores, dtype=torch.float32)

    def enlarge(_, encoded, low, wanted):
        return torch.nn.functional.interpolate(low[:, None], wanted, mode="nearest")[:, 0]

    for name, method in (("encode", encode), ("ask", ask), ("enlarge", enlarge)):
        monkeypatch.setattr(checkpoint.Segmenter, name, method)
    return model


def numbered(size) -> np.ndarray:
    """A photo whose colours are the numbers of its pixels."""
    number = np.arange(size[0] * size[1]).reshape(size)
    return np.stack([number % 256, number // 256 % 256, number // 65536], -1).astype(np.uint8)


def rectangle(size, top, left, bottom, right) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


SIZE = (90, 160)
BODY, DOOR, KNOB = rectangle(SIZE, 10, 10, 80, 150), rectangle(SIZE, 20, 20, 70, 80), rectangle(SIZE, 30, 30, 45, 45)


def test_what_the_model_is_sure_of_becomes_a_hierarchy(monkeypatch):
    """Trusted, sharp and each once: the doubtful and the blurred are gone; nesting shows in the order and in the layers."""
    doubtful, blurred = rectangle(SIZE, 20, 90, 60, 140), rectangle(SIZE, 50, 90, 75, 145)
    again = DOOR.copy()
    again[20, 20:80] = False  # the door once more, a row less and worse
    shapes = [(KNOB, 0.9, 8), (BODY, 0.99, 8), (again, 0.92, 8), (DOOR, 0.95, 8), (doubtful, 0.5, 8), (blurred, 0.95, 0.5)]
    stack = everywhere.masks_of_photo(Sam(), painted(shapes, SIZE, monkeypatch), numbered(SIZE))
    assert stack.masks().tolist() == np.stack([BODY, DOOR, KNOB]).tolist() and stack.scores.tolist() == pytest.approx([0.99, 0.95, 0.9])
    assert containing_mask(stack.masks()).tolist() == [-1, 0, 1] and len(stack.layers) == 3


def test_crops_find_what_the_grid_of_the_frame_steps_over_and_drop_what_they_cut(monkeypatch):
    small = rectangle(SIZE, 62, 121, 74, 133)
    shapes, coarse = [(BODY, 0.99, 8), (small, 0.9, 8)], {"points_per_side": 2, "min_region": 0}
    assert everywhere.masks_of_photo(Sam(**coarse), painted(shapes, SIZE, monkeypatch), numbered(SIZE)).num_masks == 1
    found = everywhere.masks_of_photo(Sam(**coarse, crop_layers=2), painted(shapes, SIZE, monkeypatch), numbered(SIZE))
    assert found.masks().tolist() == np.stack([BODY, small]).tolist()


def test_masks_may_be_smaller_than_the_photo(monkeypatch):
    stack = everywhere.masks_of_photo(Sam(max_side=80, min_region=20), painted([(BODY, 0.99, 8), (DOOR, 0.95, 8)], SIZE, monkeypatch), numbered(SIZE))
    assert stack.size == (45, 80) and stack.masks().tolist() == np.stack([BODY, DOOR])[:, ::2, ::2].tolist()


def test_specks_are_cleaned_up_and_small_masks_dropped(monkeypatch):
    worn = DOOR.copy()
    worn[40:44, 60:64], worn[85:88, 150:155] = False, True
    stack = everywhere.masks_of_photo(Sam(), painted([(worn, 0.95, 8), (rectangle(SIZE, 0, 140, 9, 149), 0.95, 8)], SIZE, monkeypatch), numbered(SIZE))
    assert stack.masks().tolist() == [DOOR.tolist()]


def test_a_transparent_background_belongs_to_no_mask(monkeypatch):
    shapes, alpha = [(BODY, 0.99, 8), (~BODY, 0.99, 8)], rectangle(SIZE, 0, 0, 90, 100)
    image = np.dstack([numbered(SIZE), np.where(alpha, 255, 0).astype(np.uint8)])
    image[~alpha] = 0
    model = painted(shapes, SIZE, monkeypatch)
    found = everywhere.masks_of_photo(Sam(), model, image).masks()
    assert (BODY & alpha).tolist() in found.tolist() and not found[:, ~alpha].any()


def test_a_photo_of_nothing_has_no_masks_which_is_legal(checkpoints):
    stack = sam_of(checkpoints["sam"], min_predicted_iou=0.88)("view", photo())  # random weights are sure of nothing
    assert stack.num_masks == 0 and stack.layers.shape == (0, *WIDE)


# ------------------------------------------------------------------ what can go wrong


def test_no_checkpoint_says_how_to_get_one(tmp_path):
    (tmp_path / "sam_vit_h.pth").write_bytes(b"weights")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    for name, told in (("", "No SAM checkpoint is given"), ("nobody/sam-nothing", "nothing is fetched unasked"), (str(tmp_path / "sam_vit_h.pth"), "is a file"),
                       (str(tmp_path / "empty"), "holds no checkpoint"), (str(tmp_path / "other"), "is a checkpoint of 'bert'; expected one of sam, sam_hq")):
        with pytest.raises(ValueError, match="hf download facebook/sam-vit-base --local-dir") as refused:
            Sam(name).check(["view"])
        assert told in str(refused.value) and "\n" not in str(refused.value)


def test_a_path_that_is_not_there_is_called_a_folder_and_no_name_of_a_hub(tmp_path):
    for name in (str(tmp_path / "gone"), "sam-vit-base", "./sam", "../models/sam", "models\\sam"):
        with pytest.raises(ValueError, match="a name on the hub like facebook/sam-vit-base.$") as refused:
            Sam(name).check(["view"])
        assert str(refused.value).startswith(f"There is no folder {name}; expected a checkpoint's folder") and "Repo id" not in str(refused.value)


@pytest.mark.parametrize(("settings", "told"), [
    ({"points_per_side": 0}, "points-per-side is 0; expected 1 or more."), ({"points_per_batch": -3}, "points-per-batch is -3; expected 1 or more."),
    ({"max_side": 0}, "max-side is 0; expected 1 or more."), ({"crop_points_downscale": 0}, "crop-points-downscale is 0; expected 1 or more."),
    ({"crop_layers": -1}, "crop-layers is -1; expected 0 or more."), ({"min_region": -1}, "min-region is -1; expected 0 or more."),
    ({"stability_offset": -0.5}, "stability-offset is -0.5; expected 0 or more."), ({"box_iou": 1.5}, "box-iou is 1.5; expected a number from 0 to 1."),
    ({"same_iou": -0.1}, "same-iou is -0.1; expected a number from 0 to 1."), ({"crop_box_iou": float("nan")}, "crop-box-iou is nan; expected a number"),
    ({"min_stability": 95.0}, "min-stability is 95.0; expected 1 at most."), ({"min_predicted_iou": 1.1}, "min-predicted-iou is 1.1; expected 1 at most."),
    ({"crop_overlap": 1.0}, "crop-overlap is 1.0; expected 0 or more and less than 1."),
])
def test_settings_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(ValueError) as refused:
        Sam(**settings)
    assert str(refused.value).startswith(told)
    assert Sam().checkpoint == ""  # what nothing is chosen with stays constructible


@pytest.mark.parametrize("length", [0, 200, 0.5])
def test_weights_that_are_cut_off_are_called_incomplete(checkpoints, tmp_path, length):
    source = torn_copy(checkpoints["sam"], tmp_path / "torn", length)
    with pytest.raises(ValueError, match=r"torn cannot be read: its weights are incomplete or broken \(.+\)\. Download it again\.$") as refused:
        sam_of(source).open()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("length", [0, 5, 0.5])
def test_weights_in_the_older_form_that_are_cut_off_are_called_incomplete_too(checkpoints, tmp_path, length):
    folder = shutil.copytree(checkpoints["sam"], tmp_path / "torn")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert sam_of(folder).open().family == "sam"
    Sam().close()
    cut(folder / "pytorch_model.bin", length)
    with pytest.raises(ValueError, match=r"torn cannot be read: its weights are incomplete or broken"):
        sam_of(folder).open()


def test_a_name_on_the_hub_is_not_looked_up_unasked(monkeypatch):
    monkeypatch.setattr(watch, "on", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    UNASKED.clear()
    with pytest.raises(ValueError, match="nothing is fetched unasked"):
        Sam("nobody/sam-nothing").check(["view"])
    assert not UNASKED


def test_weights_of_another_model_are_refused(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["sam"], tmp_path / "mixed")
    shutil.copy(checkpoints["sam2"] / "model.safetensors", folder)
    with pytest.raises(ValueError, match="lacks .* tensors|cannot be opened as sam"):
        sam_of(folder).open()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be opened as sam"):
        sam_of(folder).open()


def test_a_device_that_is_not_there_is_named(checkpoints):
    with pytest.raises(ValueError, match="'abacus' cannot be used"):
        sam_of(checkpoints["sam"], device="abacus").open()


def test_what_decides_the_masks_is_neither_the_place_nor_the_machine(checkpoints, tmp_path):
    moved = shutil.copytree(checkpoints["sam"], tmp_path / "sam")
    one, other = identity(sam_of(checkpoints["sam"])), identity(sam_of(moved, device="cuda", points_per_batch=3, download=True))
    assert one == other and identity(sam_of(checkpoints["sam2"])) != one and identity(sam_of(moved, min_stability=0.5)) != one


# ------------------------------------------------------------------ as a stage


def views(folder, count=3):
    return [(f"v{k}", write_photo(folder / f"v{k}.png", (36, 64), (40 * k, 90, 200))) for k in range(count)]


def test_interrupted_masks_go_on_and_the_model_is_closed(checkpoints, tmp_path, monkeypatch, capsys):
    source, run, done = sam_of(checkpoints["sam"]), Run(tmp_path / "run", create=True), []
    original = Sam.__call__

    def interrupted(self, name, image):
        if name == "v2" and "v2" not in done:
            done.append("v2")
            raise KeyboardInterrupt
        done.append(name)
        return original(self, name, image)

    monkeypatch.setattr(Sam, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stages.make_masks(run, views(tmp_path / "photos"), source)
    assert checkpoint.open_checkpoint.cache_info().currsize == 0 and run.masked_views() == ["v0", "v1"]
    stages.make_masks(run, views(tmp_path / "photos"), source)
    assert done == ["v0", "v1", "v2", "v2"] and run.stage("masks")["event"] == "done"
    told = capsys.readouterr()
    assert "(sam, 0.0563 M weights) on cpu, encoder in float32" in told.out and "masks a view" in told.err


def test_masks_that_take_long_are_announced_after_the_first_view(checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stages.prepare, "WORTH_TELLING", 0.0)
    stages.make_masks(Run(tmp_path / "run", create=True), views(tmp_path), sam_of(checkpoints["sam"]))
    assert "s for the first view, about 0 minutes for all 3; interrupted, it goes on" in capsys.readouterr().out


def test_a_missing_checkpoint_is_told_before_anything_is_written(tmp_path):
    run = Run(tmp_path / "run", create=True)
    with pytest.raises(ValueError, match="hf download"):
        stages.make_masks(run, views(tmp_path), Sam(str(tmp_path / "gone")))
    assert not run.manifest() and not (run / "masks").exists()


def test_after_weights_that_could_not_be_read_good_ones_do_without_overwrite(checkpoints, tmp_path):
    run, folder = Run(tmp_path / "run", create=True), torn_copy(checkpoints["sam"], tmp_path / "sam")
    with pytest.raises(ValueError, match="incomplete or broken"):
        stages.make_masks(run, views(tmp_path, 2), sam_of(folder))
    assert not run.manifest() and not (run / "masks").exists()
    shutil.copy(checkpoints["sam"] / "model.safetensors", folder)
    stages.make_masks(run, views(tmp_path, 2), sam_of(folder))
    assert run.stage("masks")["event"] == "done" and run.masked_views() == ["v0", "v1"]


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def broken_sources(checkpoints, folder) -> dict:
    (folder / "labels").mkdir()
    for k in range(2):
        (folder / "labels" / f"v{k}.json").write_text(["[]", "[3]"][k])
    return {
        "incomplete or broken": sam_of(torn_copy(checkpoints["sam"], folder / "torn")),
        "'abacus' cannot be used": sam_of(checkpoints["sam"], device="abacus"),
        "There is no folder": sam_of(folder / "gone"),
        "v1.json: mask 0": MaskFolder(folder / "labels"),
        "is what --overwrite clears": MaskFolder(folder / "run" / "masks"),
    }


def test_overwriting_loses_nothing_when_the_new_source_or_a_photo_cannot_be_read(checkpoints, tmp_path):
    run, photos = Run(tmp_path / "run", create=True), views(tmp_path, 2)
    stages.make_masks(run, photos, sam_of(checkpoints["sam"]))
    before = contents(tmp_path / "run")
    assert {"masks/v0.npz", "masks/v1.npz", "run.jsonl"} <= before.keys()
    for told, source in broken_sources(checkpoints, tmp_path).items():
        with pytest.raises(ValueError, match=told):
            stages.make_masks(run, photos, source, overwrite=True)
        assert contents(tmp_path / "run") == before and checkpoint.open_checkpoint.cache_info().currsize == 0
    photos[1][1].write_bytes(photos[1][1].read_bytes()[:60])
    for source in (sam_of(checkpoints["sam"]), Regions()):
        with pytest.raises(ValueError, match=r"v1\.png cannot be read as an image"):
            stages.make_masks(run, photos, source, overwrite=True)
        assert contents(tmp_path / "run") == before and checkpoint.open_checkpoint.cache_info().currsize == 0


def test_overwriting_with_a_source_that_works_makes_everything_anew(checkpoints, tmp_path):
    run, photos = Run(tmp_path / "run", create=True), views(tmp_path, 2)
    stages.make_masks(run, photos, sam_of(checkpoints["sam"]))
    (run / "masks" / "stray.txt").write_text("of before")
    stages.make_masks(run, photos, sam_of(checkpoints["sam2"]), overwrite=True)
    assert not (run / "masks" / "stray.txt").exists() and run.masked_views() == ["v0", "v1"]
    assert [line["event"] for line in run.manifest()] == ["start", "done", "start", "done"]


def test_a_model_is_not_opened_when_all_masks_are_there(checkpoints, tmp_path, monkeypatch):
    run, photos, source = Run(tmp_path / "run", create=True), views(tmp_path, 2), sam_of(checkpoints["sam"])
    stages.make_masks(run, photos, source)
    (run / "run.jsonl").rename(tmp_path / "aside.jsonl")
    monkeypatch.setattr(Sam, "open", lambda self: pytest.fail("opened"))
    stages.make_masks(run, photos, source)  # masks that were linked here, and no record of them
    stages.make_masks(run, photos, source)
    assert [line["event"] for line in run.manifest()] == ["start", "done"]


def test_a_model_that_finds_nothing_anywhere_is_an_error(checkpoints, tmp_path):
    told = r"None of the 2 views has a single mask.*lower min-predicted-iou \(now 0\.88\) or min-stability \(now -1\) and give --overwrite"
    with pytest.raises(RunError, match=told):
        stages.make_masks(Run(tmp_path / "run", create=True), views(tmp_path, 2), sam_of(checkpoints["sam"], min_predicted_iou=0.88))


def test_the_command_line_takes_a_checkpoint(checkpoints, tmp_path, capsys):
    from semquery.cli import main

    views(tmp_path / "scene" / "images", 2)
    flags = [f"--source.{name.replace('_', '-')}={value}" for name, value in EVERYTHING.items()]
    arguments = ["masks", str(tmp_path / "run"), "--data", str(tmp_path / "scene"), "source:sam", "--source.points-per-side", "3", "--source.device", "cpu", *flags]
    assert main([*arguments, "--source.checkpoint", str(checkpoints["sam3_tracker"])]) == 0
    assert "masks: 2 views" in capsys.readouterr().out and Run(tmp_path / "run").masked_views() == ["v0", "v1"]
    assert main([*arguments, "--source.checkpoint", "gone/away"]) == 2
    assert capsys.readouterr().err.startswith("semquery masks: There is no checkpoint gone/away, neither a folder nor in the local cache")
    with pytest.raises(SystemExit, match="2"):  # of the reader of arguments, which draws a box about the sentence
        main([*arguments, "--source.max-side", "0"])
    assert "max-side is 0; expected 1 or more." in capsys.readouterr().err


def test_sam_is_one_of_the_sources():
    assert Sam in MaskSource.__args__
