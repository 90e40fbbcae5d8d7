"""Who points at what is asked for in a picture: anything that reads a picture and a query and returns regions."""

from semquery.segmenter.base import Context, Region, Segmenter, SegmenterError
from semquery.segmenter.cache import Cached
from semquery.segmenter.grounded import GroundedSam
from semquery.segmenter.lisa import Lisa
from semquery.segmenter.oracle import Noisy, Oracle
from semquery.segmenter.recorded import Recorded
from semquery.segmenter.sam3 import Sam3

Segmenting = GroundedSam | Sam3 | Lisa | Recorded  # what a command line offers

__all__ = ["Cached", "Context", "GroundedSam", "Lisa", "Noisy", "Oracle", "Recorded", "Region", "Sam3", "Segmenter", "SegmenterError", "Segmenting"]
