"""Regions on rendered views of a mesh become scores on its faces (Reasoning3D, SATR)."""

from semquery.fusion.evidence import Evidence, ViewRegions, evidence_of, visible
from semquery.fusion.fuse import Found, FusionConfig, Mode, fuse
from semquery.fusion.graph import MeshGraph, mesh_graph
from semquery.fusion.nodes import FaceTree
from semquery.fusion.said import ViewSaid
from semquery.fusion.viewpoints import Around, Up, directions, poses, unit_sphere

__all__ = [
    "Around", "Evidence", "FaceTree", "Found", "FusionConfig", "MeshGraph", "Mode", "Up", "ViewRegions", "ViewSaid", "directions", "evidence_of",
    "fuse", "mesh_graph", "poses", "unit_sphere", "visible",
]
