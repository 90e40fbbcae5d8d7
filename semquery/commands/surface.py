"""`semquery surface`: what was measured, as the surface of a run."""

from pathlib import Path
from typing import Annotated

import tyro

from semquery import stages
from semquery.commands.arguments import Folder
from semquery.rgbd import RgbdConfig, read_capture
from semquery.scene import check_undistorted, read_scene
from semquery.store import Run


def surface(
    run: Folder,
    rgbd: Path | None = None,
    how: Annotated[RgbdConfig, tyro.conf.arg(name="")] = RgbdConfig(),
    points: Path | None = None,
    data: Path | None = None,
    radius: float | None = None,
    overwrite: bool = False,
) -> None:
    """Take the surface from a depth camera, or from a point cloud, instead of from a trained radiance field.

    Nothing is trained here and nerfstudio is not needed. A whole path, from depth to a tree of parts:

      semquery surface RUN --rgbd DIR --every 20      # DIR: color/*.jpg depth/*.png pose/*.txt intrinsic/*.txt, as of ScanNet
      semquery masks RUN --data DIR
      semquery fit RUN
      semquery tree RUN

    Voxels should be no finer than depth is noisy: semquery fit RUN --fusion.voxel-size 0.02, in units of the poses.

    Frames whose pose was lost (-inf, nan) or that have no depth are left out, and it is said how many. With a point cloud of a
    capture whose photos have poses: semquery surface RUN --points CLOUD.ply --data SCENE, then masks, fit and tree on SCENE.

    Args:
        run: Run directory; made if it is not there.
        rgbd: The folder of a depth camera: 16-bit depth along the optical axis, camera-to-world poses with OpenCV's axes.
        how: How frames of depth become surface points.
        points: A point cloud (PLY) in the frame of the poses, instead of depth.
        data: With --points: the scene whose transforms.json holds the camera poses.
        radius: With --points: radius of the disc that each point is drawn as, world units; by default the distance of its neighbours.
        overwrite: Make the surface points anew.
    """
    if (rgbd is None) == (points is None) or (points is None) != (data is None):
        raise ValueError("Give --rgbd DIR, or --points CLOUD.ply with --data SCENE, whose transforms.json has the cameras.")
    if radius is not None and (points is None or not radius > 0):
        raise ValueError(f"--radius {radius:g} is the size of the points of --points, in world units and above zero.")
    if rgbd is not None:
        capture = read_capture(rgbd, how.every)  # before a run is made for what cannot be read
        stages.observe_rgbd(Run(run, create=True), capture, how, overwrite)
    elif points is not None and data is not None:
        check_undistorted(data)
        cameras = read_scene(data)
        stages.observe_cloud(Run(run, create=True), points, cameras, radius, how.max_side, overwrite)
