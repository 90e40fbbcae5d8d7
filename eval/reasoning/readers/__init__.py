"""Published sets of queries that need reasoning, as queries and the points of a scene that they mean.

queries   the JSON files: one dialect a data set, and which labels of a scene each takes for the truth
scenes    the points of a scene and their labels: Reason3D's .pth, ScanNet's and ScanNet++'s segments, .npz
"""

from eval.reasoning.readers.queries import DIALECTS, Dialect, DialectName, ReasoningQuery, read_queries
from eval.reasoning.readers.scenes import SceneLabels, find_scene

__all__ = ["DIALECTS", "Dialect", "DialectName", "ReasoningQuery", "SceneLabels", "find_scene", "read_queries"]
