"""`python -m eval.figures [--out DIR] [--cache DIR] [--nerfstudio RUN]`: the pictures of the README, made anew."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from eval.figures import browser, drawn, splatted
from eval.figures.scene import figure_run
from semquery.manifest import atomic
from semquery.store import Run

MOST_BYTES = 250_000
DRAWN: dict[str, Callable[[drawn.Shown], np.ndarray]] = {
    "method.jpg": drawn.method, "levels.png": drawn.levels, "answers.jpg": drawn.answers, "exploded.jpg": drawn.exploded,
    "splats.jpg": splatted.splats,
}


def figures(out: Path = Path("docs/figures"), cache: Path = Path("build/figures"), nerfstudio: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None) -> None:
    """Make every picture that the README shows anew.

    Args:
        out: Folder of the pictures.
        cache: Folder of the run that they show; the run is made there once, which takes some minutes.
        nerfstudio: A run trained by ns-train (`make demo` makes one in demo/outputs/tabletop/semquery-tiny/demo): the picture of
            nerfstudio's viewer is made of it, and stays as it is where none is given.
    """
    run = figure_run(cache)
    shown = drawn.Shown(run)
    for name, make in DRAWN.items():
        _write(out / name, encoded(make(shown), name))
    for name, picture in browser.screenshots(run, None if nerfstudio is None else Run(nerfstudio)):
        if isinstance(picture, str):
            print(f"figures: {out / name} stays as it is: {picture}", file=sys.stderr)
        else:
            _write(out / name, encoded(picture, name))


def encoded(picture: np.ndarray, name: str) -> bytes:
    """A picture as a file of at most MOST_BYTES; PNG with a palette of 256 colours, JPEG in the best quality that fits.

    Raises ValueError where none fits.
    """
    import io

    from PIL import Image

    image, settings = Image.fromarray(picture), [{"quality": q, "subsampling": 0 if q > 80 else 2} for q in (92, 88, 84, 78, 70)]
    if name.endswith(".png"):
        image, settings = image.quantize(256, dither=Image.Dither.NONE), [{"optimize": True}]
    for setting in settings:
        file = io.BytesIO()
        image.save(file, "PNG" if name.endswith(".png") else "JPEG", **setting)
        if file.tell() <= MOST_BYTES:
            return file.getvalue()
    raise ValueError(f"{name} takes {file.tell()} bytes; pictures of the README have at most {MOST_BYTES}. Make it smaller.")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    print(f"{path}  {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    try:
        tyro.cli(figures, prog="python -m eval.figures")
    except ValueError as error:
        print(f"figures: {error}", file=sys.stderr)
        sys.exit(2)
