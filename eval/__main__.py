"""`python -m eval trees --out DIR`: run an evaluation and print its table."""

from eval.trees import TreesConfig, run_trees

RUNNERS = {TreesConfig: run_trees}


def main() -> None:
    import tyro

    config = tyro.extras.subcommand_cli_from_dict({"trees": TreesConfig}, prog="python -m eval", description=__doc__)
    RUNNERS[type(config)](config)


if __name__ == "__main__":
    main()
