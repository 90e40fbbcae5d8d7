"""Where parts are and how they stand to each other, computed from their points in a stated reference frame."""

from semquery.relations.frame import Frame, frame_of
from semquery.relations.graded import DIRECTIONS, HOLDS, direction, distance, holds_relation, nested, straight
from semquery.relations.place import Places, places
from semquery.relations.wording import in_words

__all__ = [
    "DIRECTIONS", "HOLDS", "Frame", "Places", "direction", "distance", "frame_of", "holds_relation", "in_words", "nested", "places", "straight",
]
