"""Seconds a view of 512 × 512: the z-buffer against embree, with one and with four rays a pixel, and whole shaded pictures.

    python -m eval.bench.views                 # the six procedural objects
    python -m eval.bench.views --partnet DIR   # and objects of a part data set, in the order of their ids

Both sides give faces, points and normals of every pixel. Their faces must agree but for pixels on edges and where
several faces lie in one place; the share that agrees is printed. A picture is cast, coloured and shaded with four rays a pixel.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eval.bench import compare
from eval.objects import SCENES
from semquery.procedural import KnownScene
from semquery.render import Hits, RayCaster, look_at, picture, pinhole

SIDE, FOV = 512, 35.0
TOWARDS = np.array([0.47, -0.81, 0.35])  # from the object to the camera
AGREE = 0.995  # of all pixels


def camera(scene: KnownScene) -> np.ndarray:
    """T_world_cam of a view that the object fills."""
    low, high = scene.vertices.min(0).astype(float), scene.vertices.max(0).astype(float)
    radius = np.linalg.norm(scene.vertices - (low + high) / 2, axis=1).max()
    return look_at((low + high) / 2 + 1.02 * radius / np.sin(np.radians(FOV / 2)) * TOWARDS / np.linalg.norm(TOWARDS), (low + high) / 2)


def agreement(ours: Hits, other: Hits) -> float:
    """Share of pixels of the same face."""
    return float((ours.face == other.face).mean())


def objects() -> Iterator[tuple[str, KnownScene]]:
    yield from ((name, make()) for name, make in SCENES.items())
    if "--partnet" in sys.argv:
        from eval.partnet.readers.find import find_objects, read_object

        for reference in find_objects(Path(sys.argv[sys.argv.index("--partnet") + 1])):
            yield reference.id, read_object(reference, "raw").scene


def main() -> None:
    import trimesh

    if not trimesh.ray.has_embree:
        raise SystemExit("embreex is not installed: there is nothing to compare the z-buffer with. `pip install embreex`")
    print("object        faces   rays a pixel   z-buffer      embree    ratio    same faces    picture")
    for name, scene in objects():
        ours, embree = (RayCaster(scene.vertices, scene.faces, views) for views in ("z-buffer", "rays"))
        T = camera(scene)
        shaded, _, _ = compare(lambda c=embree, s=scene, T=T: picture(c, s.albedo, T, pinhole(FOV, (SIDE, SIDE)), (SIDE, SIDE)), int, 3)
        for rays in (1, 2):
            view = (T, pinhole(FOV, (rays * SIDE, rays * SIDE)), (rays * SIDE, rays * SIDE))
            same = agreement(ours.cast(*view), embree.cast(*view))
            assert same > AGREE, f"{name}: only {same:.2%} of the pixels show the same face"
            fast, slow, ratio = compare(lambda c=ours, v=view: c.cast(*v), lambda c=embree, v=view: c.cast(*v), 5)
            times = f"{1e3 * fast:8.0f} ms {1e3 * slow:8.0f} ms {ratio:7.2f}× {same:12.4%}"
            print(f"{name:12s} {len(scene.faces):6d} {rays * rays:14d} {times} {1e3 * shaded:8.0f} ms", flush=True)


if __name__ == "__main__":
    main()
