"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import tyro

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Words = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]
