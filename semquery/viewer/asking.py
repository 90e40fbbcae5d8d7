"""What a session asks of a scene: the answers and the relevancy of a query, against other negatives, and the first question early."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from semquery.opened import Found, Scene
from semquery.viewer.loaded import told
from semquery.viewer.shown import Heat


@dataclass(frozen=True)
class LookedUp:
    """What came of a query."""

    found: tuple[Found, ...] = ()
    heat: Heat | None = None  # None where it could not be asked, which says nothing of the scene
    message: str = ""  # why there is no answer


def look_up(scene: Scene, text: str) -> LookedUp:
    """What answers a query; whatever goes wrong is told in the message, for an encoder may fail in any way its library does."""
    try:
        found, heat = tuple(scene.query(text)), heat_of(scene, text)
        return LookedUp(found, heat, "" if found else scene.missing(text))
    except Exception as error:
        return LookedUp(message=told(error))


def heat_of(scene: Scene, text: str) -> Heat:
    """The relevancy of every part, or of a part around it if that fits better. Raises ValueError for a text that says nothing."""
    return Heat(text, scene.relevancy(text))


def against(scene: Scene, texts: Sequence[str]) -> Scene:
    """The same scene with other negatives."""
    encoder = scene.searcher.matcher.encoder
    book = replace(scene.searcher.book, negative_texts=tuple(texts), negatives=encoder.passages(list(texts)))
    return scene.renamed(scene.labels, book, encoder)


def unbeaten(scene: Scene) -> str:
    """Why negatives change nothing in a scene, in a sentence; "" where they count: only LERF's relevancy compares with them."""
    matcher = scene.searcher.matcher
    if matcher.scorer == "lerf":
        return ""
    how = "by spelling" if matcher.encoder.kind == "lexical" else f"by the scorer {matcher.scorer}"
    return f"Negatives change nothing here: names are compared {how}. They count where a CLIP model has encoded the names."


def warm(scene: Scene) -> None:
    """Open what the first query waits for: the encoders' weights, and the places of all parts. Raises as they do."""
    scene.searcher.match("handle")
    scene.places()
