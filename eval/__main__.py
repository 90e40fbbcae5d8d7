"""`python -m eval trees --out DIR`, `queries --out DIR`, `partnet --data DIR`, `compare A B`, `objects --out DIR`, `splats --out DIR`,
`reasoning WHAT --out DIR`: evaluate, and print the tables."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from eval.partnet.compare import CompareConfig, run_compare
from eval.partnet.config import PartnetConfig
from eval.partnet.made.procedural import ObjectsConfig, run_objects
from eval.partnet.work.harness import run_partnet
from eval.queries.run import QueriesConfig, run_queries
from eval.reasoning.choose import REASONING, reasoning
from eval.splats.run import SplatsConfig, run_splats
from eval.trees import TreesConfig, run_trees

RUNNERS = {TreesConfig: run_trees, QueriesConfig: run_queries, PartnetConfig: run_partnet, CompareConfig: run_compare,
           ObjectsConfig: run_objects, SplatsConfig: run_splats, **REASONING}


def main(arguments: list[str] | None = None) -> int:
    """Run one evaluation. 0: done, 2: something the user can mend, said in one sentence."""
    import tyro

    evaluations = {"trees": TreesConfig, "queries": QueriesConfig, "partnet": PartnetConfig, "compare": CompareConfig,
                   "objects": ObjectsConfig, "splats": SplatsConfig, "reasoning": reasoning}
    config = tyro.extras.subcommand_cli_from_dict(evaluations, prog="python -m eval", description=__doc__, args=arguments)
    try:
        check_out(config.out)
        RUNNERS[type(config)](config)
    except ValueError as error:
        print(f"eval: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be opened
        print(f"eval: {error.filename or type(error).__name__}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\neval: interrupted. What was measured is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    return 0


def check_out(out: Path) -> None:
    """Raise ValueError, before any work, where nothing can be written to OUT; it is not made here."""
    try:
        there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
        if there.is_dir():
            TemporaryDirectory(prefix=".semquery-", dir=there).cleanup()
            return
    except OSError as error:
        raise ValueError(f"Nothing can be written to {out} ({error.strerror or error}); give another --out.") from error
    what = f"{out} is a file" if there == out.absolute() else f"{out} lies below {there}, which is a file"
    raise ValueError(f"{what}; --out is a folder, made if it is not there.")


if __name__ == "__main__":
    sys.exit(main())
