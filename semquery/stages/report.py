"""The report page of a run: what every part is called and why, to read, to search and to correct."""

import shlex
from pathlib import Path
from typing import Any

from semquery.manifest import json_lines, sha256
from semquery.report import Heading, ReportConfig, report_page
from semquery.stages.answer import photo_of
from semquery.store import Run
from semquery.types import NodeLabel
from semquery.views import levels_picture, png_bytes


def report(run: Run, config: ReportConfig = ReportConfig(), out: Path | None = None) -> Path:
    """report.html, one file that needs nothing else; a run whose naming was interrupted is shown as far as it came."""
    run.need("labels.jsonl")
    parts, surface, labels = run.parts(), run.surface(), run.labels()
    levels = png_bytes(levels_picture(surface, parts, photo_of(run, surface), views=1))
    pictures = {part: shown_pictures(run, part) for part in range(parts.num_parts)}
    path = out or run / "report.html"
    run.write_bytes(path, report_page(heading(run, labels), parts, labels, pictures, levels, config).encode())
    return path


def shown_pictures(run: Run, part: int) -> list[bytes]:
    """The pictures of a part as they were shown to the model, in their order."""
    paths = [p for p in (run / "views" / str(part)).glob("*.png") if p.stem.isdecimal()]
    return [p.read_bytes() for p in sorted(paths, key=lambda p: int(p.stem))]


def heading(run: Run, labels: dict[int, NodeLabel]) -> Heading:
    """What is recorded of the naming as a whole: who was asked, when, and what it cost."""
    line = run.stage("label") or {}
    answers = [line["answer"] for line in json_lines(run / "labels.jsonl") if isinstance(line.get("answer"), dict)]
    total = {name: sum(int(answer.get(name) or 0) for answer in answers) for name in ("prompt_tokens", "cached_tokens", "answer_tokens")}
    return Heading(
        title="/".join(run.path.resolve().parts[-2:]).lstrip("/"), identity=sha256(run / "parts.npz")[:16],
        model=asked_model(line.get("config")), made=str(line.get("time", "")),
        view=f"semquery view {shlex.quote(str(run.path))}", calls=len(answers), seconds_per_call=run.seconds_per_call() or 0.0, **total,
    )


def asked_model(config: Any) -> str:
    """Who was asked, as the manifest has it."""
    asked = config.get("vlm") if isinstance(config, dict) else None
    return str(asked.get("identity") or asked.get("class", "")) if isinstance(asked, dict) else ""
