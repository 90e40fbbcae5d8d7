"""One query against a large scene: the codebook and the tree against a feature at every point.

    python -m eval.bench.querying           # 10⁴ parts, 10⁶ points, 50 views of 512 × 512
    python -m eval.bench.querying --small   # a tenth of the parts and points, 10 views of 256 × 256

Both sides start from the encoded query and end with the parts (ours), the mask of the points and the mask of every view
that shows one of them. The baseline is the rule of LERF and LangSplat: a 512-wide feature at every point, its relevancy
against the query and four negatives, a threshold, and a look-up of each pixel's point; once computing the negatives'
similarities with every query as they do, once with them kept. Planted: the feature of a point is the vector of its part's
name, so both sides must mark the same points. In `usual` scenes 1500 distinct texts are said of all parts (screws are called
screws); in `distinct` ones no two parts share a text.
"""

import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.bench import compare
from eval.bench.peak import peak_mb
from semquery.codebook import build_codebook
from semquery.prompts import bank, negatives
from semquery.query import Searcher
from semquery.query.scorers import relevancy
from semquery.spans import Spans
from semquery.types import Codebook, NodeLabel, PartTree, Surface

WIDTH, BRANCHING, THRESHOLD = 512, 4, 0.9
Answer = tuple[np.ndarray, dict[str, np.ndarray]]  # mask of the points, masks of the views that show one


@dataclass(frozen=True)
class Scattered:
    """A text encoder whose vectors have random directions, the same for the same text: nearly no two texts are alike."""

    kind: str = "clip"
    identity: str = "scattered"

    def check(self) -> str:
        return "random directions"

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.array([np.random.default_rng(zlib.crc32(t.encode())).normal(size=WIDTH) for t in texts]).reshape(-1, WIDTH)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        return self.queries(texts)


@dataclass(frozen=True)
class Bench:
    """A scene, and what is said of it."""

    surface: Surface
    parts: PartTree
    labels: Mapping[int, NodeLabel]
    features: np.ndarray  # [n 512], of the name of the smallest part that holds each point


def make_bench(num_parts: int, side: int, num_views: int, pixels: int, distinct: bool) -> Bench:
    """side² points in a square, the leaves of the tree in blocks over it; views are windows of one point a pixel."""
    random = np.random.default_rng(0)
    parents = np.array([num_parts - 1 - (num_parts - 2 - p) // BRANCHING for p in range(num_parts - 1)] + [num_parts - 1], np.int32)
    leaves = np.setdiff1d(np.arange(num_parts), parents)
    rows, columns = np.divmod(np.arange(side * side), side)
    blocks = int(np.ceil(np.sqrt(len(leaves))))
    part_of_point = leaves[(rows * blocks // side * blocks + columns * blocks // side) % len(leaves)].astype(np.int32)
    altitude, support = np.linspace(0, 1, num_parts, dtype=np.float32), np.zeros((0, 3), np.int32)
    parts = PartTree(parents, altitude, part_of_point, support, np.zeros(0, np.float32))
    labels = {p: _label(p, bool(np.isin(p, leaves)), distinct, random) for p in range(num_parts)}
    vectors = Scattered().queries([labels[p].name for p in leaves])
    return Bench(_surface(side, num_views, pixels, random), parts, labels, vectors[np.searchsorted(leaves, part_of_point)])


def _label(part: int, is_leaf: bool, distinct: bool, random: np.random.Generator) -> NodeLabel:
    """Name, two synonyms and a function; names of leaves and of parts with parts are apart, so that no hit holds another."""
    kind = f"{'detail' if is_leaf else 'group'} {part if distinct else int(187 * random.random() ** 2)}"
    return NodeLabel(part, kind, (f"{kind} also", f"{kind} or so"), f"what {kind} is for")


def _surface(side: int, num_views: int, pixels: int, random: np.random.Generator) -> Surface:
    flat, n = np.arange(side * side, dtype=np.int32).reshape(side, side), side * side
    corners = random.integers(0, side - pixels + 1, (num_views, 2))
    views = {f"view {k:02d}": flat[y : y + pixels, x : x + pixels].copy() for k, (y, x) in enumerate(corners.tolist())}
    points = np.stack([*np.divmod(np.arange(n), side), np.zeros(n)], 1).astype(np.float32)
    normals, colors, features = np.zeros((n, 3), np.float32), np.zeros((n, 3), np.uint8), np.zeros((n, 0), np.float16)
    return Surface(points, normals, colors, features, np.arange(n, dtype=np.int32), 1.0, views)


def open_scene(bench: Bench, book: Codebook) -> tuple[Searcher, Spans]:
    """What is worked out once, when a scene is opened."""
    laid = Spans(bench.parts, bench.surface)
    return Searcher(bench.parts, bench.labels, book, Scattered(), laid=laid), laid


def ours(searcher: Searcher, laid: Spans, text: str, vector: np.ndarray) -> Answer:
    """Match, choose, and gather the slices of the best hit."""
    match = searcher.matcher.match_vector(vector, searcher.matcher.entries.rows_called(text))
    members = searcher.groups(match)[0].members
    return laid.point_mask(*members), laid.masks(*members)


def dense(bench: Bench, vector: np.ndarray, against: np.ndarray) -> Answer:
    """Relevancy of every point, and a look-up of every pixel."""
    return _looked_up(bench, relevancy(bench.features, vector, against) > THRESHOLD)


def dense_kept(bench: Bench, vector: np.ndarray, strongest: np.ndarray) -> Answer:
    """The same with each point's similarity to its nearest negative at hand."""
    return _looked_up(bench, 1 / (1 + np.exp(-10 * (bench.features @ vector - strongest))) > THRESHOLD)


def _looked_up(bench: Bench, inside: np.ndarray) -> Answer:
    masks = {view: (point >= 0) & inside[point] for view, point in bench.surface.point_of_pixel.items()}
    return inside, {view: mask for view, mask in masks.items() if mask.any()}


def check_same(one: Answer, other: Answer) -> None:
    """The same points, and the same pixels of the same views."""
    assert one[0].any() and (one[0] == other[0]).all()
    assert one[1].keys() == other[1].keys() and all((one[1][view] == other[1][view]).all() for view in one[1])


def calls(bench: Bench, searcher: Searcher, laid: Spans, text: str) -> dict[str, Callable[[], Answer]]:
    """The three ways of answering, ready to be called."""
    vector, against = Scattered().queries([text])[0], Scattered().queries(negatives())
    strongest = (bench.features @ against.T).max(1)
    return {"ours": lambda: ours(searcher, laid, text, vector), "dense": lambda: dense(bench, vector, against),
            "dense, negatives kept": lambda: dense_kept(bench, vector, strongest)}


def often_and_seldom(bench: Bench) -> list[str]:
    """Of the names that are seen in a view, the one that the most leaves have, and the one in the middle."""
    seen = np.unique(np.concatenate([bench.parts.part_of_point[np.unique(point)] for point in bench.surface.point_of_pixel.values()]))
    names = Counter(bench.labels[p].name for p in np.unique(bench.parts.part_of_point).tolist())
    shown = {bench.labels[p].name for p in seen.tolist()}
    ranked = [name for name, _ in names.most_common() if name in shown]
    return [ranked[len(ranked) // 2]] if max(names.values()) == 1 else [ranked[0], ranked[len(ranked) // 2]]


def main() -> None:
    size = (1000, 316, 10, 256) if "--small" in sys.argv else (10_000, 1000, 50, 512)
    print(f"{size[0]} parts, {size[1] ** 2} points, {size[2]} views of {size[3]} × {size[3]}")
    for distinct in (False, True):
        bench = make_bench(*size, distinct)
        book = build_codebook(bench.labels, Scattered(), negatives(), bank())
        start = time.perf_counter()
        searcher, laid = open_scene(bench, book)
        print(f"{'distinct' if distinct else 'usual'}: {len(book.texts)} texts; opened in {time.perf_counter() - start:.2f} s; "
              f"codebook {book.vectors.nbytes / 1e6:.0f} MB, features of the points {bench.features.nbytes / 1e6:.0f} MB")
        for text in often_and_seldom(bench):
            ways = calls(bench, searcher, laid, text)
            answer = ways.pop("ours")
            members = searcher.groups(searcher.match(text))[0].members
            for name, way in ways.items():
                check_same(answer(), way())
                fast, slow, ratio = compare(answer, way)
                times = f"ours {1e3 * fast:6.2f} ms   {name:21s} {1e3 * slow:7.1f} ms   {ratio:6.1f}×"
                print(f"  {len(members):4d} parts   {times}   peak {peak_mb(answer):.0f} and {peak_mb(way):.0f} MB", flush=True)


if __name__ == "__main__":
    main()
