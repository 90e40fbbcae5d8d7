"""From a query to parts: scorers, what is not here, nested and repeated hits, compound phrases."""

from semquery.query.calibrate import CALIBRATIONS, Calibration, fit
from semquery.query.config import QueryConfig
from semquery.query.matching import Match, Matcher
from semquery.query.scorers import relevancy
from semquery.query.searcher import Searcher

__all__ = ["CALIBRATIONS", "Calibration", "Match", "Matcher", "QueryConfig", "Searcher", "fit", "relevancy"]
