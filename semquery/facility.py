"""Which nodes of a merge tree explain the masks best: facility location, chosen greedily.

A mask is explained by the chosen node that covers its pixels best; the gain of a node is what it explains beyond
the nodes chosen before. Gains only fall as nodes are chosen (submodularity), so a node whose gain is looked at anew
and still tops all the old gains is the best one: the lazy choice is the greedy one (Minoux 1978).

Notation: s rows of evidence, c candidate nodes. Rows are sorted by node, so a node's rows are one slice.
"""

import heapq
from collections.abc import Mapping

import numpy as np

from semquery.evidence import Evidence
from semquery.types import MaskStack


def mask_density(masks: Mapping[str, MaskStack], usual: float = 20.0) -> float:
    """Masks per view as a share of a usual number, from a half to six."""
    return float(np.clip(np.mean([stack.num_masks for stack in masks.values()]) / usual, 0.5, 6.0))


def usual_share(evidence: Evidence, gamma: float, clearest: int = 20) -> float:
    """Median, over the nodes that explain most, of the masks each explains anew per view that sees it.

    It tells how much of the truth a mask source finds, whatever the scene: about .9 where masks are exact, .3 where
    a segmenter misses two of three, .1 where it also merges and tears them. 1 where no node explains anything; more
    than 1 where it shows parts several times in a view.
    """
    chosen, gains = _greedy(evidence, 3 * gamma, 0.0, clearest, 0.5)
    return float(np.median(np.array(gains) / evidence.num_views[chosen])) if chosen else 1.0


def facility_location(evidence: Evidence, gamma: float, min_share: float, most: int = 1 << 31, min_iou: float = 0.5) -> list[int]:
    """Nodes chosen greedily, best first, until the best left explains less than `gamma` masks anew, or there are `most`.

    A mask counts (IoU - min_iou) / (1 - min_iou). A node that explains less than `min_share` of the views
    that see it is passed over.
    """
    return _greedy(evidence, gamma, min_share, most, min_iou)[0]


def _greedy(evidence: Evidence, gamma: float, min_share: float, most: int, min_iou: float) -> tuple[list[int], list[float]]:
    """The chosen nodes, and what each explains beyond those before it."""
    if not len(evidence.node):
        return [], []
    score = np.maximum((evidence.iou - min_iou) / (1 - min_iou), 0)
    mask = evidence.view * (evidence.mask.max() + 1) + evidence.mask
    first = np.flatnonzero(np.diff(evidence.node, prepend=-1))
    last, nodes = np.append(first[1:], len(score)), evidence.node[first]
    gains = np.add.reduceat(score, first)
    enough = np.maximum(gamma, min_share * evidence.num_views[nodes])
    explained, chosen, won = np.zeros(mask.max() + 1), [], []
    heap = [(-gains[i], i) for i in np.flatnonzero(gains >= enough)]
    heapq.heapify(heap)
    while heap and len(chosen) < most:
        _, i = heapq.heappop(heap)
        rows = slice(first[i], last[i])
        # summed as above, so that gains that did not change are the same to the last bit
        gain = np.add.reduceat(np.maximum(score[rows] - explained[mask[rows]], 0), [0])[0]
        if gain < enough[i]:
            continue  # gains only fall, so it never comes back
        if heap and gain < -heap[0][0]:
            heapq.heappush(heap, (-gain, i))
            continue
        chosen.append(int(nodes[i]))
        won.append(float(gain))
        np.maximum.at(explained, mask[rows], score[rows])
    return chosen, won
