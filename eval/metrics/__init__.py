"""Numbers only: how well trees, answers and names come out. No files, no pictures, no models.

trees       a predicted part tree against the true one; its numbers can be had from here
retrieval   queries over the threshold: IoU, F1, average precision, AUROC, and the floors of doing nothing
naming      names of a tree's nodes: right or wrong, along paths, and below a wrong parent; calibration
resampling  intervals over objects, differences of two methods, thresholds chosen on other objects
matching    predicted nodes matched one to one with true ones, with their labels
"""

from eval.metrics.trees import (
    TreeScores,
    contingency,
    dendrogram_purity,
    depths,
    interval,
    level_means,
    node_iou,
    precision,
    recall,
    sampled_covering,
    score_tree,
    score_views,
    shown_nodes,
    up_tree,
)

__all__ = [
    "TreeScores", "contingency", "dendrogram_purity", "depths", "interval", "level_means", "node_iou", "precision", "recall",
    "sampled_covering", "score_tree", "score_views", "shown_nodes", "up_tree",
]
