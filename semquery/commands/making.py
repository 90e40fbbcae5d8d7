"""From photos to the part tree: masks, the feature field, the tree."""

from pathlib import Path
from typing import Annotated

import tyro

from semquery import stages
from semquery.commands.arguments import Folder
from semquery.console import print_tree
from semquery.export.splats import read_T_world_splats
from semquery.fit import FitConfig
from semquery.masks import MaskSource, Regions
from semquery.parts import TreeConfig
from semquery.scene import check_undistorted, read_lenses, read_scene
from semquery.splatting.clean import CleanConfig
from semquery.splatting.surface import SplatSurface
from semquery.store import Run


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def masks(
    run: Folder,
    data: Path | None = None,
    source: MaskSource = Regions(),
    overwrite: bool = False,
) -> None:
    """Make the 2D masks of a scene's photos and keep them in a run directory.

    Views that are done are kept, so an interrupted run goes on where it stopped. Look at masks/contact.png.

    Args:
        run: Run directory; made if it is not there.
        data: The scene: a folder with transforms.json, or with photos, or with a folder images/; or a depth camera's folder, of which
            `semquery surface` took frames. Not needed where the run has its surface points: their photos are known.
        source: Where masks come from: regions of like colour, a folder of masks made elsewhere, or a SAM checkpoint
            (source:sam --source.checkpoint FOLDER).
        overwrite: Make everything anew.
    """
    opened = Run(run, create=data is not None)
    stages.make_masks(opened, stages.photos_to_mask(opened, data), source, overwrite)
    print(f"look at {run / 'masks' / 'contact.png'}")


def fit(
    run: Folder,
    mesh: Path | None = None,
    splats: Path | None = None,
    data: Annotated[Path | None, tyro.conf.arg(aliases=["--cameras"])] = None,
    splats_transform: Path | None = None,
    min_likeness: float = stages.UNLIKE,
    surface: SplatSurface = SplatSurface(),
    cleaning: CleanConfig = CleanConfig(),
    config: Annotated[FitConfig, tyro.conf.arg(name="")] = FitConfig(),
    overwrite: bool = False,
) -> None:
    """Train the feature field on a run's surface points and fuse them into one surface.

    The surface points come from `ns-train semquery`, or from a mesh or trained Gaussian splats with the capture's camera poses:

      semquery fit RUN --mesh scene.ply --data SCENE
      semquery fit RUN --splats scene.ply --cameras transforms.json      # 3DGS PLY of any trainer; geometry is not trained again

    Args:
        run: Run directory with masks.
        mesh: Take the surface from this mesh (PLY, OBJ, GLB) instead of from a trained radiance field.
        splats: Take the surface from these trained Gaussian splats (an uncompressed 3DGS PLY).
        data: With --mesh or --splats: the transforms.json with the camera poses, or the folder that holds it.
        splats_transform: Where the splats are not in the frame of these poses: the dataparser_transforms.json of their nerfstudio run
            (ns-export gaussian-splat), or this transforms.json for splats trained on COLMAP's poses, which nerfstudio has turned.
        min_likeness: With --splats: how well they must correlate with the photos (1 is alike, 0 is nothing in common); -1 takes any.
        surface: With --splats: which pixels show a surface.
        cleaning: With --splats: which Gaussians are left out.
        config: How the field is trained.
        overwrite: Train anew, from new surface points if --mesh or --splats is given.
    """
    opened = Run(run)
    _check_geometry(mesh, splats, data, splats_transform, (surface, cleaning) != (SplatSurface(), CleanConfig()))
    if data is not None:
        opened.need("masks")
    if mesh is not None and data is not None:
        check_undistorted(data)
        stages.observe_mesh(opened, mesh, read_scene(data), overwrite=overwrite)
    if splats is not None and data is not None:
        cameras, lenses = stages.cameras_of(opened, data), read_lenses(data, opened.masked_views())
        stages.observe_splats(opened, splats, cameras, surface, cleaning, read_T_world_splats(splats_transform, data), overwrite, lenses,
                              min_likeness)
    stages.fit(opened, config, overwrite)


def _check_geometry(mesh: Path | None, splats: Path | None, data: Path | None, splats_transform: Path | None, is_tuned: bool) -> None:
    """Raises ValueError for what does not go together."""
    if mesh is not None and splats is not None:
        raise ValueError("--mesh and --splats both say what the surface is: give one of them.")
    if (mesh is None and splats is None) != (data is None):
        raise ValueError("--mesh and --data go together, and --splats and --cameras: the mesh or the splats are the surface, the scene's "
                         "transforms.json has the cameras.")
    if splats is None and (splats_transform is not None or is_tuned):
        raise ValueError("--splats-transform, --surface.* and --cleaning.* say how splats are seen, and none were given: --splats SCENE.ply")


def tree(run: Folder, config: Annotated[TreeConfig, tyro.conf.arg(name="")] = TreeConfig(), overwrite: bool = False) -> None:
    """Build the part tree from the surface's features and the masks, and print it.

    Args:
        run: Run directory with a surface.
        config: How the tree is built.
        overwrite: Build it anew.
    """
    opened = Run(run)
    parts = stages.build_tree(opened, config, overwrite)
    print_tree(parts, opened.labels() if opened.stage("label") else {})
