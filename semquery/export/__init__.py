"""What leaves a run, as data for others to write: point clouds, meshes, splats, masks, boxes, the part tree.

Nothing here writes a file; the stage `export` does.
"""

from semquery.export.boxes import boxes_json, boxes_lines
from semquery.export.chosen import Chosen
from semquery.export.clouds import cloud_of_part, highlighted_cloud, labelled_cloud, part_colors, paths_of, point_cloud
from semquery.export.tree import part_tree_schema, path_names, tree_json

__all__ = [
    "Chosen", "boxes_json", "boxes_lines", "cloud_of_part", "highlighted_cloud", "labelled_cloud", "part_colors", "part_tree_schema",
    "path_names", "paths_of", "point_cloud", "tree_json",
]
