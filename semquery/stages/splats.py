"""Splats that belong to a run: where they are kept, and what each Gaussian is part of."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int32

from semquery.export import Chosen
from semquery.export.splats import part_of_splats, read_splats, read_T_world_splats
from semquery.field import FeatureField, FieldConfig
from semquery.manifest import sha256
from semquery.splatting import Gaussians, gaussians_of
from semquery.splatting.clean import CleanConfig, Cleaned, clean
from semquery.splatting.features import VectorField
from semquery.store import Run, RunError


@dataclass(frozen=True)
class SplatScene:
    """Splats that belong to a run: a file, the way from its frame to that of the cameras, and what of them is no surface."""

    path: Path
    T_world_splats: Float64[np.ndarray, "4 4"] | None = None
    cleaning: CleanConfig = CleanConfig()


def cleaned(gaussians: Gaussians, config: CleanConfig) -> Cleaned:
    """Which Gaussians are surface."""
    return clean(*(values.cpu().numpy() for values in (gaussians.means, gaussians.scales, gaussians.opacities)), config)


def check_left(found: Cleaned, path: Path) -> None:
    """Raises ValueError where there are no Gaussians, or none that the clean-up leaves."""
    if not len(found.kept):
        raise ValueError(f"{path} holds no Gaussians: it has the fields of a splat PLY and no row. Export the trained scene again.")
    if not found.kept.any():
        raise ValueError(f"{path}: {found.in_words()}, so nothing is left. Ask for less clean-up (--cleaning.min-opacity, --cleaning.max-size, "
                         "--cleaning.max-sigma), or train the splats longer.")


def own_splats(run: Run) -> SplatScene | None:
    """The splats a run was made from, whether the file is still there or not; None for a run that was not made from splats.

    A file of the run itself has moved with it.
    """
    recorded = (run.stage("observe") or {}).get("config") or {}
    if not recorded.get("splats"):
        return None
    matrix, path = recorded.get("transform"), Path(recorded["splats"])
    path = run / path.name if not path.exists() and (run / path.name).exists() else path
    return SplatScene(path, None if matrix is None else np.array(matrix, np.float64),
                      _rebuilt(CleanConfig(), recorded.get("cleaning") or {}))


def given_splats(run: Run, path: Path, transform: Path | None = None) -> SplatScene:
    """Splats that are given for a run. The file that it was made from lies where it lay then, wherever it is now.

    `transform`: see `read_T_world_splats`, which tells what is raised.
    """
    own, recorded = own_splats(run), (run.stage("observe") or {}).get("config") or {}
    if transform is None and own is not None and path.is_file() and recorded.get("sha256") == sha256(path):
        return replace(own, path=path)
    return SplatScene(path, read_T_world_splats(transform))


@dataclass(frozen=True)
class LabelledGaussians:
    """Every Gaussian of a file, in its order, with what it is part of."""

    part: Int32[np.ndarray, " s"]  # the smallest part at its centre; -1 for floaters and for those out of reach of the surface
    distance: Float32[np.ndarray, " s"]  # to the nearest surface point, world units
    features: Float16[np.ndarray, "s c"]  # of the trained field at its centre; zero where there is no part; no columns without a field
    left_out: Bool[np.ndarray, " s"]  # by the clean-up


def labelled_gaussians(run: Run, scene: SplatScene | None = None, reach: float | None = None) -> LabelledGaussians:
    """Part and feature of every Gaussian.

    `scene`: by default the splats that the run was made from. `reach`: from a centre to the surface, world units; `export.splats.usual_reach` by default.
    Raises RunError for what the run lacks, ValueError for a file that is no splat PLY.
    """
    scene = own_splats(run) if scene is None else scene
    if scene is None:
        raise RunError(f"{run.path} was not made from splats: say which ones are meant, SplatScene(Path('scene.ply')).")
    surface, parts, ply = run.surface(), run.parts(), read_splats(scene.path)
    gaussians, T = gaussians_of(ply), scene.T_world_splats
    kept = cleaned(gaussians, scene.cleaning).kept
    part, distance = part_of_splats(ply, Chosen(surface, parts, {}, (parts.root,)), reach, T)
    part = np.where(kept, part, -1).astype(np.int32)
    centres = gaussians.means.double().numpy()[part >= 0]
    centres = centres if T is None else centres @ T[:3, :3].T + T[:3, 3]
    features = np.zeros((len(part), surface.features.shape[1]), np.float16)
    if features.shape[1]:
        features[part >= 0] = field_of(run).at(centres.astype(np.float32))
    return LabelledGaussians(part, distance, features, ~kept)


def field_of(run: Run) -> FeatureField | VectorField:
    """The trained field, on the CPU. Raises RunError where there is none."""
    run.need("field.safetensors")
    tensors, _ = run.read_tensors("field.safetensors")
    if "vectors" in tensors:
        field: FeatureField | VectorField = VectorField(tensors["vectors"].shape[1], tensors["centres"], tensors["is_shown"])
    else:
        field = FeatureField(_rebuilt(FieldConfig(), ((run.stage("fit") or {}).get("config") or {}).get("field") or {}))
    try:
        field.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"{run / 'field.safetensors'} is not of the size that run.jsonl tells. Train it again: "
                       f"semquery fit {run.path} --overwrite") from error
    return field


def _rebuilt(default: Any, recorded: Mapping[str, Any]) -> Any:
    """A configuration from the manifest's record of it; what is not recorded is as by default."""
    known = {f.name: getattr(default, f.name) for f in fields(default) if f.name in recorded}
    return replace(default, **{name: _rebuilt(was, recorded[name]) if is_dataclass(was) else recorded[name] for name, was in known.items()})
