"""`semquery ask --method views`: asking a segmenter about views of the scene."""

from semquery import stages
from semquery.console import printable
from semquery.lifting.answer import ViewsConfig
from semquery.lifting.pixels import PixelEncoder
from semquery.segmenter import Segmenting
from semquery.store import Run


def ask_by_views(run: Run, question: str, method: str, segmenter: Segmenting | None, config: ViewsConfig, pixels: PixelEncoder) -> int:
    """Ask, write and say it; 1 when nothing is meant. Raises ValueError where no segmenter is named, or one that would not be asked."""
    if segmenter is None:
        raise ValueError("--method views needs somebody who sees: segmenter:grounded-sam, segmenter:sam3, segmenter:lisa or segmenter:recorded (docs/segmenters.md).")
    if method != "views":
        raise ValueError("A segmenter is asked only with --method views.")
    viewed = stages.ask_views(run, question, segmenter, config, pixels)
    folder = stages.write_viewed(run, viewed, config)
    print("\n".join(map(printable, stages.viewed_in_words(viewed))))
    print(f"  → {folder / 'picture.png'}")
    return 0 if viewed.answer.inside.any() else 1
