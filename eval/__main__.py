"""`python -m eval trees --out DIR`, `python -m eval queries --out DIR`: run an evaluation and print its tables."""

import sys

from eval.queries.run import QueriesConfig, run_queries
from eval.trees import TreesConfig, run_trees

RUNNERS = {TreesConfig: run_trees, QueriesConfig: run_queries}


def main(arguments: list[str] | None = None) -> int:
    """Run one evaluation. 0: done, 2: something the user can mend, said in one sentence."""
    import tyro

    evaluations = {"trees": TreesConfig, "queries": QueriesConfig}
    config = tyro.extras.subcommand_cli_from_dict(evaluations, prog="python -m eval", description=__doc__, args=arguments)
    try:
        RUNNERS[type(config)](config)
    except ValueError as error:
        print(f"eval: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\neval: interrupted. What was measured is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
