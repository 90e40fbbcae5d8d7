"""`semquery mesh`: a mesh asked directly, without a capture and without training."""

from pathlib import Path
from typing import Annotated

import tyro

from semquery.console import printable
from semquery.fusion import FusionConfig
from semquery.segmenter import Segmenting
from semquery.stages.mesh import MeshViews, ask_mesh, said_in_words


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
def mesh(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    queries: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="QUERY [QUERY ...]")],
    segmenter: Segmenting,
    fusion: Annotated[FusionConfig, tyro.conf.arg(name="")] = FusionConfig(),
    how: Annotated[MeshViews, tyro.conf.arg(name="")] = MeshViews(),
    out: Path | None = None,
    run: Path | None = None,
) -> int:
    """Ask a mesh for a part, by name or by what it is for; get its faces, lit, with who said so (Reasoning3D).

    The mesh is looked at from all around, a segmenter that reasons answers for every picture, and the answers are fused on the faces. What
    it answered is kept: interrupted, the same command goes on, and other settings of fusion cost nothing.

      semquery mesh chair.glb "what one leans against" segmenter:grounded-sam segmenter.vlm:open-ai-server …
      semquery mesh body.obj arm head leg torso --is-complete segmenter:lisa --segmenter.base-url http://localhost:8090
      semquery mesh bed.obj "the supporting part" segmenter:recorded --segmenter.folder MASKS    # masks made elsewhere, for OUT/views

    Several queries share the faces among them (--no-is-exclusive: each by itself). Leaves with 1 when nothing is found.

    Args:
        model: The mesh (OBJ, PLY, GLB, STL or OFF).
        queries: What to look for, each in quotes.
        segmenter: Who answers for a picture.
        fusion: How answers become faces.
        how: How the mesh is looked at.
        out: Folder to write to; by default MODEL-mesh, named after the model, where you are. An answer that lies there is replaced; what the
            segmenter said is kept.
        run: A run made of the same mesh (semquery fit --mesh): what is found snaps to its parts, and is told as parts.
    """
    folder = Path(f"{model.stem}-mesh") if out is None else out
    found = ask_mesh(model, queries, segmenter, folder, fusion, how, run)
    for each in found:
        print("\n".join(map(printable, said_in_words(each))))
    print(f"  → {folder / 'picture.png'}")
    return 0 if any(each.mask.any() for each in found) else 1
