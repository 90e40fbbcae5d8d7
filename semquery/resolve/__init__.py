"""From a phrase to the parts it means, by geometry and the part tree alone: no model.

What a phrase is related to is resolved first, then the parts called like its head are held against it: relations filter,
places and sizes choose, counting picks one of a row, exclusions take away, and the number says how many may stay. Where
nothing is left, one looks inside the parts that are called so for others that are. Where several remain and one was asked
for, all of them are the answer and the steps say that the question does not tell which.
"""

from semquery.resolve.record import Resolution
from semquery.resolve.select import LINES
from semquery.resolve.walk import resolve

__all__ = ["LINES", "Resolution", "resolve"]
