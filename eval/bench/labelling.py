"""Naming 30 parts through a server that takes 50 ms a call: four requests at a time against one, and prompts seen before.

    python -m eval.bench.labelling

The server is the tests' stub: it counts prompt tokens as a server with a prefix cache does (blocks of 16 tokens).
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eval.bench import compare
from semquery.facts import PartFacts
from semquery.labelling import Asker, LabelConfig, Subject, label_parts
from semquery.types import NodeLabel, PartTree
from semquery.views import half_size
from semquery.vlm.server import OpenAiServer

NUM_PARTS, LATENCY = 30, 0.05
WALK = LabelConfig(reconsider=False, siblings=False, copy_alike=False)  # one call a part


def subject(num_parts: int = NUM_PARTS, branching: int = 3) -> Subject:
    """A tree of four levels, each part with up to three parts, and a picture of its own in two sizes."""
    parents = [num_parts - 1 - (num_parts - 2 - p) // branching for p in range(num_parts - 1)] + [num_parts - 1]
    tree = PartTree(np.array(parents, np.int32), np.linspace(0, 1, num_parts, dtype=np.float32), np.arange(num_parts, dtype=np.int32),
                    np.zeros((0, 3), np.int32), np.zeros(0, np.float32))
    facts = {p: PartFacts("red", "", "block", False, "small", (1.0 + p, 1.0, 1.0), 0.1, "at the top", parents.count(p), 0) for p in range(num_parts)}
    drawn = [tuple(_picture(p, k) for k in range(2)) for p in range(num_parts)]
    return Subject(tree, facts, lambda part: drawn[part], {}, reduced=half_size)


def _picture(part: int, which: int, side: int = 448) -> bytes:
    from PIL import Image

    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = np.arange(side)[:, None] // 2, 8 * part, 255 * which
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def knowing(what: Subject) -> Callable[[dict], dict]:
    """A server's answers: the part's number, found by its picture, after a sentence of thinking."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from stub_server import images_of

    part_of = {picture: p for p in what.facts for picture in what.pictures(p)}

    def answer(body: dict) -> dict:
        last = [m for m in body["messages"] if images_of({"messages": [m]})][-1]
        if "renamed" in str(body.get("response_format")):
            return {"thinking": "They differ, and so do their names.", "renamed": []}
        part = part_of[images_of({"messages": [last]})[0]]
        return {"thinking": "It is attached to what it belongs to, and looks like one of its kind. " * 3, "name": f"thing {part}", "synonyms": ["item"],
                "function": "one line that says what it is for, as long as such lines are", "alternatives": [], "parent_suspect": False}

    return answer


def label_all(url: str, what: Subject, workers: int, config: LabelConfig = WALK) -> dict[int, NodeLabel]:
    return label_parts(what, Asker(OpenAiServer(url, "stub"), {}, lambda key, answer, seconds: None), config, workers=workers)


def shares(what: Subject, workers: int, config: LabelConfig) -> tuple[int, float]:
    """Calls, and the share of prompt tokens that a server with an empty prefix cache computes."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from stub_server import StubServer

    with StubServer(knowing(what), latency=0.0) as server:
        label_all(server.url, what, workers, config)
        return server.counts["answered"], 1 - server.counts["cached_tokens"] / server.counts["prompt_tokens"]


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from stub_server import StubServer

    what = subject()
    with StubServer(knowing(what), latency=LATENCY) as server:
        one = label_all(server.url, what, 1)
        for workers in (4, 8):
            assert label_all(server.url, what, workers) == one
            ours, baseline, ratio = compare(lambda w=workers: label_all(server.url, what, w), lambda: label_all(server.url, what, 1), repeats=5)
            print(f"{NUM_PARTS} parts, {1e3 * LATENCY:.0f} ms a call   {workers} workers {ours:5.2f} s   1 worker {baseline:5.2f} s   {ratio:.2f}×")
    for name, config in (("walk", WALK), ("walk and second looks", LabelConfig())):
        for workers in (1, 4):
            calls, share = shares(what, workers, config)
            print(f"{name}, {workers} workers: {calls} calls, {100 * share:.1f} % of the prompt tokens newly computed")


if __name__ == "__main__":
    main()
