"""`semquery <stage>`: choosing a command, and turning errors into sentences.

Nothing heavy is imported before a command is known, so that help comes at once; the commands themselves,
with their arguments, are in `commands/`.
"""

import os
import sys

COMMANDS = {
    "demo": "a procedural scene from photos to answers; start here",
    "masks": "2D masks of every photo",
    "surface": "surface points from a depth camera or a point cloud, without training",
    "fit": "train the feature field on the surface points of a run",
    "tree": "build the part tree from features and masks",
    "label": "name the parts, from the whole down to the smallest",
    "report": "a page with every part: pictures, names, thoughts; to read, search and correct",
    "encode": "embed the names into a codebook",
    "query": "ask for a part; get it as points, masks and a picture",
    "ask": "ask by what a part is for, or any question that a part answers",
    "mesh": "ask a mesh for a part, by name or by purpose, without a capture or training",
    "view": "look at it in a browser: search, click parts, walk the tree",
    "export": "points, meshes, splats, masks, boxes and the tree, for other programs",
}

USAGE = """usage: semquery COMMAND [ARGUMENTS]      (semquery COMMAND --help explains one)

From photos with poses to "here is that part, in 3D":

  ns-train semquery --data SCENE         train geometry, field and part tree (GPU)
  ns-train semquery-tiny --data SCENE    the same, small enough for two CPU cores
  semquery label RUN                     name the parts
  semquery encode RUN                    make the names searchable
  semquery query RUN "all the legs"      get parts by name, place and number
  semquery ask RUN "how do I start it?"  ask by purpose
  semquery view RUN                      see it, click it, search it in a browser

RUN is a run directory or the config.yml inside it.

commands:
{commands}
"""


def usage() -> str:
    return USAGE.format(commands="\n".join(f"  {name:8} {about}" for name, about in COMMANDS.items()))


def main(arguments: list[str] | None = None) -> int:
    """Run one command. 0: done, 1: nothing found, 2: something the user can mend, said in one sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name, *rest = arguments
    if name == "--version":
        from importlib.metadata import version

        print(version("semquery"))
        return 0
    if name not in COMMANDS:
        print(f"semquery: there is no command {name!r}; commands are {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    import tyro

    from semquery import commands

    try:
        return tyro.cli(getattr(commands, name), prog=f"semquery {name}", args=rest) or 0
    except ValueError as error:
        from semquery.console import printable

        print(f"semquery {name}: " + "\n".join(map(printable, str(error).splitlines())), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"\nsemquery {name}: interrupted. What was finished is kept; the same command goes on from there.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
