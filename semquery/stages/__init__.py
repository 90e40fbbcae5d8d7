"""The stages, each from artefacts to artefacts of one run directory.

Every stage can be run alone, is skipped when it was done from the same inputs, resumes where it was
interrupted, and refuses to mix what was made from different inputs. Mathematics is elsewhere; here is
order, progress and bookkeeping. The command line, the nerfstudio plugin and the evaluation all call these.
"""

from semquery.stages.answer import as_record, encode, opened, photo_of, query, write_answer
from semquery.stages.ask import AskRun, ask, asked_in_words, asker_for, write_asked
from semquery.stages.ask_views import Viewed, ask_views
from semquery.stages.common import default_device, load_photo, progress
from semquery.stages.export import CHEAP, Format, NotFound, Splats, export
from semquery.stages.exported import written_lines
from semquery.stages.gaussians import QueriedGaussians, query_gaussians
from semquery.stages.label import LabelRun, estimate_labels, label, label_by_hand, named_by, subject_of, vlm_of
from semquery.stages.learn import build_tree, finish_fit, fit, load_masks, load_observations, open_fit
from semquery.stages.observing import UNLIKE, cameras_of, observe_splats
from semquery.stages.prepare import check_same_views, make_masks, observe_mesh
from semquery.stages.report import report
from semquery.stages.splats import LabelledGaussians, SplatScene, given_splats, labelled_gaussians, own_splats
from semquery.stages.surface import observe_cloud, observe_rgbd, photos_to_mask
from semquery.stages.written_views import viewed_in_words, write_viewed

__all__ = [
    "AskRun", "CHEAP", "Format", "LabelRun", "LabelledGaussians", "NotFound", "QueriedGaussians", "SplatScene", "Splats", "UNLIKE",
    "Viewed", "as_record", "ask", "ask_views", "asked_in_words", "asker_for", "build_tree", "cameras_of", "check_same_views",
    "default_device", "encode", "estimate_labels", "export", "finish_fit", "fit", "given_splats", "label", "label_by_hand",
    "labelled_gaussians", "load_masks", "load_observations", "load_photo", "make_masks", "named_by", "observe_cloud", "observe_mesh",
    "observe_rgbd", "observe_splats", "open_fit", "opened", "own_splats", "photo_of", "photos_to_mask", "progress", "query",
    "query_gaussians", "report", "subject_of", "viewed_in_words", "vlm_of", "write_answer", "write_asked", "write_viewed",
    "written_lines",
]
