"""One object asked by every method; many objects, kept as they are done; numbers and report at the end.

    python -m eval partnet --data DIR --out OUT                           every method that the given models can do, on 100 objects
    python -m eval partnet --data DIR --out OUT --workers 4               … in four processes
    python -m eval partnet --data DIR --out OUT --ray auto                … on a Ray cluster

    OUT/settings.json   what the records depend on; other settings are refused
    OUT/sample.json     which objects, with hashes
    OUT/objects         a record an object (see kept); a record that holds all methods is not made again
    OUT/answers         what a model said, as it says it: an interrupted object asks nothing twice
    OUT/predicted       numbers of found trees, and OUT/trees the runs that they were found on
    OUT/results.json    see scoring; OUT/report.html see report; measured by points, both are in OUT/points

Conventions
  `evaluate` is a function of its task alone: what it gives does not depend on where it runs, but for seconds.
  An object that cannot be read or asked (ValueError) is broken: listed with its reason, the others go on. A model that is away
  (Unreachable) ends the run; what is done is kept.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from eval.partnet.config import MethodName, PartnetConfig
from eval.partnet.page.markup import counted
from eval.partnet.readers.find import find_objects, names_of, read_object
from eval.partnet.readers.reference import Reference
from eval.partnet.records import PartObject, Record, Said, asked_of, normalised
from eval.partnet.sampling import Broken, Sample, draw_readable, read_sample, write_sample
from eval.partnet.work.kept import (
    asked_only,
    merged,
    methods_kept,
    read_predicted,
    read_record,
    record_if_any,
    stem,
    write_predicted,
    write_record,
)
from eval.partnet.work.workers import Failed, each

Result = TypeVar("Result")


@dataclass(frozen=True)
class Task:
    """One object, and what is to be done with it."""

    reference: Reference
    config: PartnetConfig
    methods: tuple[MethodName, ...]
    absent: tuple[str, ...] = ()  # names it is asked for although it may have no such part
    earlier: Mapping[str, Said] = field(default_factory=dict)  # what other methods said of it before
    folder: Path | None = None  # for answers of models, or the work on a found tree; none: nothing stays


def evaluate(task: Task) -> Record:
    """The record of one object with what the task's methods say of it. Raises ValueError for a broken object, Unreachable."""
    from eval.partnet.methods import say
    from eval.partnet.pictures.shown import Shown

    start = time.perf_counter()
    thing = _read(task)
    shown, asked = Shown(thing, task.config.pictures), asked_of(thing, task.absent)
    answers = None if task.folder is None else task.folder / f"{stem(task.reference.id)}.jsonl"
    said = say(task.methods, shown, asked, _backends(task.config).about(answers), task.earlier)
    overview, atom_of_pixel = shown.overview()
    return Record(
        task.reference.id, thing.category, thing.model, thing.format, task.config.tree, thing.ids, thing.names, thing.parents,
        thing.is_type, thing.holds, thing.area, thing.points, shown.pixels, asked, said, overview, atom_of_pixel, thing.notes,
        time.perf_counter() - start)


def find_tree(task: Task) -> dict[str, Any]:
    """The numbers of the tree that the field finds of one object."""
    from eval.partnet.predicted import predict

    thing = _read(task)
    if task.folder is not None:
        return predict(thing, task.config, task.folder / f"{stem(task.reference.id)}-{task.config.predicted}").as_json()
    with TemporaryDirectory() as folder:
        return predict(thing, task.config, Path(folder)).as_json()


def _read(task: Task) -> PartObject:
    try:
        return read_object(task.reference, task.config.tree)
    except (OSError, MemoryError) as error:
        raise ValueError(f"{task.reference.path} cannot be read: {error or type(error).__name__}") from error


@lru_cache(maxsize=1)
def _backends(config: PartnetConfig) -> Any:
    """Models stay open from object to object of one process."""
    from eval.partnet.methods import backends_for

    return backends_for(config)


# ------------------------------------------------------------------ all objects


def run_partnet(config: PartnetConfig) -> dict[str, Any]:
    """Evaluate every object of the sample, write everything to OUT, print the table; what results.json holds.

    Raises ValueError for what the user can mend, before long work where it can be known then, and Unreachable.
    """
    from eval.partnet.numbers.scoring import score, table, write_results
    from eval.partnet.page.report import write_report
    from eval.partnet.work.provenance import about, keep_settings

    config = checked(config)
    opened = _unopened(config) if _elsewhere(config) else config
    for line in checks(opened):
        print(line)
    references = find_objects(config.data)
    keep_settings(opened)
    sample, unreadable = open_sample(config, references)
    broken = {one.id: one.why for one in unreadable} | measure_objects(config, sample)
    trees, without = find_trees(config, sample, broken)
    good = [drawn.id for drawn in sample.objects if drawn.id not in broken]
    if not good:
        raise ValueError(f"None of {counted(len(broken), 'object')} could be evaluated. The first: {next(iter(broken.values()))}")
    methods = methods_shown(config, good)
    records = (asked_only(read_record(config.out, id), methods) for id in good)
    results = score(records, methods, config.domain, config.bootstrap, config.seed)
    left_out = [{"id": id, "reason": reason} for id, reason in (broken | without).items()] + results["broken"]
    folder = config.out / "points" if config.domain == "points" else config.out
    write_results(folder, {**about(opened, trees), **results, "broken": left_out})
    page = write_report(folder)
    print(table(results))
    print(ending(len(results["objects"]), [one["reason"] for one in left_out], page))
    return results


def methods_shown(config: PartnetConfig, ids: Sequence[str]) -> tuple[MethodName, ...]:
    """The methods that every record holds, asked now or before; a line for each that only some hold."""
    from eval.partnet.methods import METHODS

    held = [methods_kept(config.out, id) for id in ids]
    for name in METHODS:
        if 0 < (number := sum(name in one for one in held)) < len(held):
            print(f"{name} is not shown: {number} of {len(held)} records have it; name it with --methods to add it to the others.")
    return tuple(name for name in METHODS if all(name in one for one in held))


def ending(measured: int, reasons: Sequence[str], page: Path) -> str:
    """The last line: how many objects were measured, how many not, and where they are half or more, why."""
    why = f" (the first: {reasons[0]})" if reasons and len(reasons) >= measured else ""
    return f"{counted(measured, 'object')}, {len(reasons)} left out{why}: {page}"


def checked(config: PartnetConfig) -> PartnetConfig:
    """The configuration with its methods spelled out and its data as a whole path; ValueError where it cannot be run."""
    from eval.partnet.methods import METHODS, default_methods

    if config.out.exists() and not config.out.is_dir():
        raise ValueError(f"{config.out} is a file; --out is a folder, made if it is not there.")
    if config.ray is not None and config.workers > 1:
        raise ValueError(f"--workers {config.workers} and --ray {config.ray} both say where the objects go; give one of them.")
    asked = config.methods or default_methods(config)
    return replace(config, methods=tuple(name for name in METHODS if name in asked), data=config.data.absolute())


def checks(config: PartnetConfig) -> list[str]:
    """Try everything that long work needs; a line for each. Raises ValueError."""
    from eval.partnet.methods import check

    lines = check(config)
    if config.ray is not None:
        from eval.partnet.work.cluster import check_ray

        lines.append(check_ray(config.ray))
    return lines


def _elsewhere(config: PartnetConfig) -> bool:
    """Whether other processes do the work."""
    return config.workers > 1 or config.ray is not None


def _unopened(config: PartnetConfig) -> PartnetConfig:
    """The same with models of its own, so that those which are opened here do not travel with every task."""
    picture = None if config.picture_encoder is None else replace(config.picture_encoder)
    return replace(config, vlm=replace(config.vlm), encoder=replace(config.encoder), picture_encoder=picture)


def open_sample(config: PartnetConfig, references: Sequence[Reference]) -> tuple[Sample, tuple[Broken, ...]]:
    """The sample that OUT holds, or a new one, written there."""
    path = config.out / "sample.json"
    if path.exists():
        return read_sample(path, references)
    sample, broken = draw_readable(references, config.num_objects, config.seed, config.tree, config.stratified)
    write_sample(path, sample, broken)
    for one in broken:
        print(f"broken: {one.id}: {one.why}")
    return sample, broken


def absent_names(sample: Sample, count: int, seed: int) -> dict[str, tuple[str, ...]]:
    """For every object names that other objects of the sample have and it has not: by lot, the same whatever else is asked."""
    own = {reference.id: set(map(normalised, names_of(reference, sample.tree))) for reference in sample.references}
    every = sorted(set().union(*own.values()) - {""})
    found = {}
    for id, names in own.items():
        others = [name for name in every if name not in names]
        draw = np.random.default_rng(list(sha256(f"{seed}\0{id}\0absent".encode("utf-8", "surrogatepass")).digest()))
        found[id] = tuple(others[k] for k in sorted(draw.permutation(len(others))[:count]))
    return found


def measure_objects(config: PartnetConfig, sample: Sample) -> dict[str, str]:
    """Make the records that OUT lacks, or add the methods that they lack; the broken objects, with reasons."""
    names, tasks = absent_names(sample, config.absent, config.seed), []
    for reference in sample.references:
        record = record_if_any(config.out, reference.id)
        missing = tuple(name for name in config.methods if record is None or name not in record.said)
        if not missing:
            continue
        earlier = {} if record is None else {name: said for name, said in record.said.items() if name == "cot"}  # hybrid takes its names
        tasks.append(Task(reference, config, missing, names[reference.id], earlier, None if config.ray else config.out / "answers"))

    def keep(task: Task, record: Record) -> None:
        write_record(config.out, merged(record_if_any(config.out, record.id), record))

    return _all_done(config, "objects", evaluate, tasks, keep, len(sample.references) - len(tasks))


def find_trees(config: PartnetConfig, sample: Sample, broken: Collection[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """(the numbers of every found tree, made where OUT lacks them; objects whose tree cannot be found, with reasons)."""
    if config.predicted == "no":
        return {}, {}
    ids = [reference.id for reference in sample.references if reference.id not in broken]
    folder = None if config.ray else config.out / "trees"
    tasks = [Task(reference, config, (), folder=folder) for reference in sample.references
             if reference.id in ids and _kept_tree(config, reference.id) is None]

    def keep(task: Task, found: dict[str, Any]) -> None:
        write_predicted(config.out, task.reference.id, found)

    failed = _all_done(config, "trees", find_tree, tasks, keep, len(ids) - len(tasks))
    return ({id: found for id in ids if (found := _kept_tree(config, id)) is not None},
            {id: f"its tree was not found: {reason}" for id, reason in failed.items()})


def _kept_tree(config: PartnetConfig, id: str) -> dict[str, Any] | None:
    found = read_predicted(config.out, id)
    return found if found is not None and found.get("masks") == config.predicted else None


def _all_done(
    config: PartnetConfig, what: str, work: Callable[[Task], Result], tasks: Sequence[Task], keep: Callable[[Task, Result], None],
    num_done: int,
) -> dict[str, str]:
    """Do every task where the configuration says, keep each result at once; those that cannot be done, with reasons."""
    from semquery.stages import progress

    failed: dict[str, str] = {}
    bar = progress(None, what, total=num_done + len(tasks))
    bar.n = bar.initial = num_done

    def died(k: int) -> None:
        bar.write(f"a worker died; {tasks[k].reference.id} is begun again")

    with bar:
        for k, result in _mapped(config, work, tasks, died):
            task = tasks[k]
            if isinstance(result, Failed):
                failed[task.reference.id] = result.reason
                bar.write(f"broken: {task.reference.id}: {result.reason}")
            else:
                keep(task, result)
            bar.update(1)
    return failed


def _mapped(
    config: PartnetConfig, work: Callable[[Task], Result], tasks: Sequence[Task], died: Callable[[int], None]
) -> Iterator[tuple[int, Result | Failed]]:
    if not tasks:
        return iter(())
    if config.ray is None:
        return each(work, tasks, config.workers, died)
    from eval.partnet.work.cluster import each_on_ray
    from eval.partnet.work.provenance import in_process

    return each_on_ray(work, tasks, config.ray, gpu=in_process(config), died=died)
