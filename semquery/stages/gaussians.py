"""What a query finds among the Gaussians of a splat scene: how well each fits, and which ones answer.

A Gaussian has no name of its own. It is of a part (see `labelled_gaussians`), and fits a query as well as that part does, or a part
around it if that fits better: what is in a drawer is in the cabinet too.

Notation
  s Gaussians, in the order of their file; p parts.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32

from semquery.opened import Found, Scene
from semquery.stages.splats import LabelledGaussians


@dataclass(frozen=True)
class QueriedGaussians:
    """How the Gaussians of a file answer a query."""

    text: str
    relevancy: Float32[np.ndarray, " s"]  # 0..1; NaN where there is no part
    answer: Int32[np.ndarray, " s"]  # the number of the best answer that the Gaussian lies in, from 0; -1 for none
    found: tuple[Found, ...]  # the answers, best first

    @property
    def is_hit(self) -> Bool[np.ndarray, " s"]:
        """The Gaussians of the first answer."""
        return self.answer == 0


def query_gaussians(scene: Scene, labelled: LabelledGaussians, text: str, top: int | None = None) -> QueriedGaussians:
    """The Gaussians that answer a query, and how well every one of them fits it; all -1 where nothing in the scene is called so.

    `labelled`: of the same run as the scene; worked out once, asked any number of times. `top`: at most so many answers. Raises
    ValueError for a query that cannot be read, and for Gaussians that were labelled with another tree.
    """
    num_parts, most = scene.tree.num_parts, int(labelled.part.max(initial=-1))
    if most >= num_parts:
        raise ValueError(f"A Gaussian has part {most} and the tree has {num_parts} parts: label the Gaussians with this tree first "
                         "(labelled_gaussians(run)).")
    found, has = tuple(scene.query(text, top)), labelled.part >= 0
    relevancy = np.where(has, scene.relevancy(text)[labelled.part], np.float32(np.nan))
    return QueriedGaussians(text, relevancy, np.where(has, _answer_of_part(scene, found)[labelled.part], np.int32(-1)), found)


def _answer_of_part(scene: Scene, found: tuple[Found, ...]) -> Int32[np.ndarray, " p"]:
    """The best answer that each part lies in, -1 for none."""
    answer = np.full(scene.tree.num_parts, -1, np.int32)
    for number, each in reversed(list(enumerate(found))):
        for member in each.members:
            answer[scene.shapes.spans.inside(member)] = number
    return answer
