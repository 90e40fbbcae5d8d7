"""Depth cameras as a source of surface: reading a capture, and making points of its depth."""

from semquery.rgbd.agree import Seen, beside, votes
from semquery.rgbd.capture import Capture, is_rgbd, read_capture, told
from semquery.rgbd.config import RgbdConfig
from semquery.rgbd.depth import backproject, load_depth, resampled, trusted

__all__ = [
    "Capture", "RgbdConfig", "Seen", "backproject", "beside", "is_rgbd", "load_depth", "read_capture", "resampled",
    "told", "trusted", "votes",
]
