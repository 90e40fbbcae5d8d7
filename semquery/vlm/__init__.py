"""Who answers: anything that reads a conversation with pictures and returns text."""

from semquery.vlm.appearance import Appearance
from semquery.vlm.base import Answer, Request, Turn, Vlm, VlmError
from semquery.vlm.qwen import QwenVl
from semquery.vlm.recorded import vlm_from, vlm_record
from semquery.vlm.replay import Replay
from semquery.vlm.scripted import Scripted
from semquery.vlm.server import OpenAiServer

__all__ = ["Answer", "Appearance", "OpenAiServer", "QwenVl", "Replay", "Request", "Scripted", "Turn", "Vlm", "VlmError", "vlm_from", "vlm_record"]
