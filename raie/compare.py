"""What `raie compare` computes: strategies side by side on several edits of a log, with tables and pictures of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.callbacks import OnNote, Progress, ignore_notes, ignore_progress
from raie.edits.workflow import open_view, plain
from raie.engine.comparison.figures import pictures
from raie.engine.comparison.methods import Method, parse_methods
from raie.engine.comparison.protocol import ComparisonProtocol, cut_protocol
from raie.engine.comparison.results import ComparisonResult, Origin, comparison_result
from raie.engine.comparison.runner import run
from raie.engine.comparison.step_results import STEP_VERSION
from raie.engine.comparison.tables import coverage_line, csv_text, headed_tables, legend, markdown, untouched_lines
from raie.engine.config import BackboneConfig, EngineConfig, from_mapping, to_mapping
from raie.engine.data.interactions import Interactions, cut_time, end_time, read_log
from raie.engine.data.readers.settings import LogSettings
from raie.engine.edit.setup import with_length, with_times
from raie.engine.errors import ConfigError
from raie.engine.model import Settings
from raie.engine.training.train_backbone import configured_class
from raie.errors import UsageError
from raie.executors.choice import opened
from raie.lines import known_line
from raie.logs.known_ids import doubt_line, known_ids
from raie.logs.log_reading import log_settings, notes_of, read_later_log
from raie.output_files import require_free, whole_file
from raie.registry.states import EditKind

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = [
    "USUAL",
    "ComparisonOptions",
    "compare",
    "coverage_line",
    "headed_tables",
    "legend",
    "require_outputs",
    "result_json",
    "untouched_lines",
    "write_files",
]

USUAL = ("never", "popularity", "markov", "item-knn", "ease", "full", "replay+counts", "raie")
"""What is compared where nobody names strategies: the floors, the closed forms, and what trains."""
_TABLES = ("comparison.md", "comparison.json", "comparison.csv")


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and how.

    Attributes:
        strategies: Names, separated by commas; "all" is every one.
        ablations: Also region edits with one part taken out.
        against: The strategy that the others are compared with; None for region edits, or else the first.
        edits: How many edits follow each other.
        seeds: Each has a backbone of its own.
        until: Where the setup ends; end: where the log ends, None for all of it.
        ref: A setup of the workspace whose backbone and settings are used, instead of the workspace's options.
        metric: Of the regions' gains; everything else is there in all metrics.
        reading: How the log is read, as for `log_settings`.
    """

    strategies: str = ",".join(USUAL)
    ablations: bool = False
    against: str | None = None
    edits: int = 5
    seeds: tuple[int, ...] = (1,)
    until: str = "0.5"
    end: str | None = None
    ref: str | None = None
    metric: str = "Recall@10"
    reading: LogSettings | Mapping[str, Any] = field(default_factory=dict)


def compare(
    workspace: Workspace | None,
    log: str | Path,
    options: ComparisonOptions = ComparisonOptions(),
    *,
    work: Path | None = None,
    workers: int = 1,
    executor: str | None = None,
    fresh: bool = False,
    progress: Progress = ignore_progress,
    on_note: OnNote = ignore_notes,
) -> ComparisonResult:
    """Run what is not finished yet, and evaluate every strategy; nothing is committed.

    Args:
        workspace: Whose options and setups count; it keeps what a run has finished. Without one the built-in options
            count, and the user's cache keeps what is finished.
        log: The interactions.
        options: What is compared, and how.
        work: Another folder for what is finished.
        workers: Strategies side by side.
        executor: "local", or "ray" for a cluster; None for the workspace's own.
        fresh: Begin anew, whatever an earlier run has finished.
        progress: Called as the strategies go on.
        on_note: Called with each line on how the log was read.

    Raises:
        EngineError: The log or an option cannot be used.
        RegistryError: There is no such setup.
        UsageError: Options that contradict each other.
    """
    methods = _methods(options)
    reference = _reference(methods, options.against)
    notes: list[str] = []
    interactions, settings, until, backbone = _start(workspace, Path(log), options, notes)
    protocol = cut_protocol(
        interactions, until, end_time(interactions, options.end), options.edits, settings.engine
    )
    trains = backbone is None or any(method.strategy == "joint" for method in methods)
    work = _work(workspace, work) / _key(protocol, interactions, settings, backbone, trains)
    # What cannot be compared is refused in one line, before anything is noted of the log.
    for line in notes:
        on_note(line)
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    own = "local" if workspace is None else workspace.executor
    with opened(executor or own, workers) as runner:
        run(
            protocol,
            settings,
            methods,
            options.seeds,
            work,
            workers=workers,
            progress=progress,
            backbone=backbone,
            executor=runner,
        )
    by_key = {method.folder_name: method.name for method in methods}
    names = {"never": by_key["never"], "joint": by_key.get("joint"), "reference": reference.name}
    origin = Origin(Path(log).name, interactions.digest, _shared(settings.engine))
    return comparison_result(origin, protocol, methods, options.seeds, work, **names, metric=options.metric)  # type: ignore[arg-type]


def _methods(options: ComparisonOptions) -> tuple[Method, ...]:
    """Those asked for, and always the backbone that is never edited, which others are measured against."""
    texts = [text for text in re.split(r",(?![^\[]*\])", options.strategies) if text.strip()]
    if not texts:
        raise UsageError(
            f"expected --strategies to name a strategy, found {options.strategies!r}: leave it out for all"
        )
    return parse_methods([*(text.strip() for text in texts), "never"], ablations=options.ablations)


def _reference(methods: Sequence[Method], against: str | None) -> Method:
    if against is None:
        return next((method for method in methods if method.folder_name == "raie"), methods[0])
    wanted = {method.folder_name for method in parse_methods([against])}  # "all" is many
    matching = [method for method in methods if method.folder_name in wanted]
    if len(wanted) == len(matching) == 1:
        return matching[0]
    raise UsageError(f"expected --against to name one of --strategies, found {against!r}")


def _work(workspace: Workspace | None, named: Path | None) -> Path:
    """The folder of all comparisons."""
    if named is not None:
        return named
    if workspace is not None:
        return workspace.work / "compare"
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "raie" / "compare"


def _start(
    workspace: Workspace | None, log: Path, options: ComparisonOptions, notes: list[str]
) -> tuple[Interactions, Settings, int, tuple[bytes, bytes] | None]:
    """The log, how models are set up, where the setup ends, and the backbone where there is one."""
    if workspace is None and options.ref is not None:
        raise UsageError(
            f"expected a workspace with the setup {options.ref!r}, found none at or above the current folder: name it "
            "with --workspace, or leave --ref out"
        )
    if workspace is None or options.ref is None:
        if workspace is not None:
            workspace.require_code()
        reading = log_settings(options.reading)
        interactions = read_log(log, **vars(reading))
        notes += notes_of(interactions)
        until = cut_time(interactions, options.until)
        engine = EngineConfig() if workspace is None else from_mapping(workspace.engine)
        settings = with_times(Settings(engine, reading))
        return interactions, with_length(settings, interactions, until), until, None
    registry = workspace.registry()
    snapshot = registry.resolve(workspace.model, options.ref)
    kind = registry.edit(workspace.model, snapshot.edit).kind
    if kind != EditKind.SETUP:
        raise UsageError(f"expected --ref to name a setup's snapshot, found one of kind {kind}: try edit:1")
    view = open_view(registry, snapshot, workspace.backbone_file)
    backbone = view.backbone.to_bytes()  # read before any file that the registry alone names could run
    settings = _located(view.settings, workspace.backbone_file)
    interactions = read_later_log(view, log)
    known = known_ids(registry, workspace.model, snapshot, view, interactions, None)
    notes += [*notes_of(interactions), known_line(known.to_mapping()), *doubt_line(known)]
    return interactions, settings, view.watermark.timestamp, backbone


def _located(settings: Settings, backbone_file: Path | None) -> Settings:
    """The settings with the path of a backbone file in this workspace; at the setup it may have been another path."""
    engine = settings.engine
    if engine.backbone.kind != "file":
        return settings
    return replace(settings, engine=replace(engine, backbone=replace(engine.backbone, path=str(backbone_file))))


def _key(
    protocol: ComparisonProtocol,
    interactions: Interactions,
    settings: Settings,
    backbone: tuple[bytes, bytes] | None,
    trains: bool,
) -> str:
    """What all results of a comparison depend on, besides strategy and seed. trains: whether one trains a backbone."""
    values: dict[str, Any] = {
        "log": interactions.digest,
        "ends": protocol.ends,
        "engine": _shared(settings.engine),
    }
    values["version"] = STEP_VERSION
    values |= _read_besides(settings.engine.backbone, interactions.catalogue.titles, trains)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for part in backbone or ():
        digest.update(part)
    return digest.hexdigest()[:16]


def _shared(engine: EngineConfig) -> dict[str, Any]:
    """The options that all seeds of a comparison share."""
    return {name: value for name, value in to_mapping(engine).items() if name != "seed"}


def _read_besides(config: BackboneConfig, titles: Sequence[str], trains: bool) -> dict[str, Any]:
    """What a backbone is made from besides the log's rows and the options; nothing, for a kind that reads no more.

    trains: whether one is trained; the bytes of one that was hold what its folder held.
    """
    chosen = configured_class(config)
    read: dict[str, Any] = {}
    if chosen.reads_titles:
        read["titles"] = titles
    if chosen.source is not None:
        read["source"] = chosen.source
    if config.kind == "causal_lm" and trains:
        read["folder"] = _contents(Path(config.path))
    return read


def _contents(folder: Path) -> dict[str, str]:
    """sha256 of every file below a model folder, by its name; but for hidden ones, which no model reads."""
    if not folder.is_dir():
        raise ConfigError(f"expected a model folder to train a backbone from, found none at {folder}")
    digests = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            with path.open("rb") as file:
                digests[name.as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def require_outputs(folder: Path) -> None:
    """Refuses a folder in which a table could not be written, before hours of computing. Raises: RaieError."""
    for name in _TABLES:
        require_free(folder / name, replace=True)


def result_json(result: ComparisonResult) -> dict[str, Any]:
    """The whole comparison as plain JSON values; null where a measure does not exist."""
    values: dict[str, Any] = plain(result.to_mapping())
    return values


def write_files(result: ComparisonResult, metric: str, folder: Path) -> list[Path]:
    """The tables as Markdown, JSON and CSV, and the pictures; those of an earlier run are written over.

    Raises: RaieError where one of the names is that of a link or of something else than a regular file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result_json(result), indent=1, ensure_ascii=False, allow_nan=False)
    tables = zip(_TABLES, (markdown(result, metric), text, csv_text(result)), strict=True)
    written = []
    for name, data in (*((name, table.encode()) for name, table in tables), *pictures(result, metric)):
        with whole_file(folder / name, replace=True) as file:
            file.write(data)
        written.append(folder / name)
    return written
