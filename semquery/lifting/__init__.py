"""Regions on captured views become surface points, weighted by how far the views agree, and a head on the feature field (MLLM-For3D).

    views = choose_views("poses", seen, cameras.T_world_cam, 8)
    answers, dropped = keep({view: segmenter.segment(photo(view), query) for view in views})
    votes = lift(sights, answers, num_points)
    fused = fuse(votes, weigh(votes), doubt=0.5)           # mask on the points
    snap(tree, fused.mask, fused.known)                    # the parts that it means
    head.distill(…), head.QueryHead.scores(token)          # learned: answers for points that no view saw
"""

from semquery.lifting.choose import Choosing, choose_views
from semquery.lifting.fuse import PUBLISHED, Belief, FuseConfig, Fused, Weighed, agreement, dissenting, explanation, fuse, weigh
from semquery.lifting.keep import Dropped, KeepConfig, keep
from semquery.lifting.lift import Sight, Votes, lift, sight_of_depth, sight_of_grid
from semquery.lifting.snap import Snapped, snap

__all__ = [
    "Belief", "Choosing", "Dropped", "FuseConfig", "Fused", "KeepConfig", "PUBLISHED", "Sight", "Snapped", "Votes", "Weighed", "agreement", "choose_views", "dissenting", "explanation", "fuse", "keep", "lift",
    "sight_of_depth", "sight_of_grid", "snap", "weigh",
]
