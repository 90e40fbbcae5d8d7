"""What `python -m eval reasoning` can measure."""

from typing import Annotated

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from eval.reasoning.ablation import AblationConfig, run_ablation
from eval.reasoning.answers import AnswersConfig, run_answers
from eval.reasoning.noise import NoiseConfig, run_noise
from eval.reasoning.protocol import FaustConfig, run_faust

REASONING = {NoiseConfig: run_noise, FaustConfig: run_faust, AnswersConfig: run_answers, AblationConfig: run_ablation}
What = OmitArgPrefixes[OmitSubcommandPrefixes[
    Annotated[NoiseConfig, subcommand("noise")] | Annotated[FaustConfig, subcommand("faust")]
    | Annotated[AnswersConfig, subcommand("answers")] | Annotated[AblationConfig, subcommand("ablation")]]]


def reasoning(what: What) -> NoiseConfig | FaustConfig | AnswersConfig | AblationConfig:
    """Queries that need reasoning: how fusion bears noise, FAUST's protocol, published sets of queries, MLLM-For3D's ablation."""
    return what
