"""What `raie compare` computes: a log and its options become a finished comparison, and files that tell it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raie.edits import Progress, open_view, plain
from raie.engine.comparison.figures import pictures
from raie.engine.comparison.methods import Method, parse_methods
from raie.engine.comparison.protocol import ComparisonProtocol, cut_protocol
from raie.engine.comparison.results import ComparisonResult, Origin, comparison_result
from raie.engine.comparison.runner import run
from raie.engine.comparison.tables import csv_text, markdown
from raie.engine.config import BackboneConfig, EngineConfig, from_mapping, to_mapping
from raie.engine.data.interactions import Interactions, cut_time, end_time, read_log
from raie.engine.data.readers.settings import LogSettings
from raie.engine.edit.setup import with_times
from raie.engine.errors import ConfigError
from raie.engine.model import Settings
from raie.engine.training.train_backbone import configured_class
from raie.errors import UsageError
from raie.known_ids import doubt_line, known_ids
from raie.later_log import read_new, told
from raie.lines import known_line
from raie.output_files import require_free, whole_file
from raie.workspace import Workspace, require_code

__all__ = ["Asked", "compared", "require_outputs", "write_files"]

_TABLES = ("comparison.md", "comparison.json", "comparison.csv")


@dataclass(frozen=True)
class Asked:
    """The options of one comparison. ref: a set-up whose backbone and settings are used, instead of the workspace's.
    metric: of the regions' gains; every other measure is there in all metrics.
    """

    log: Path
    reading: LogSettings
    strategies: str
    ablations: bool
    against: str | None
    edits: int
    seeds: tuple[int, ...]
    until: str
    end: str | None
    ref: str | None
    metric: str


def compared(
    workspace: Workspace,
    asked: Asked,
    *,
    workers: int,
    fresh: bool,
    progress: Progress,
    tell: Callable[[str], None] = lambda _: None,
) -> ComparisonResult:
    """Run what is not finished yet, and judge. tell: called with each line on how the log was read.

    Raises: EngineError, UsageError, RegistryError.
    """
    chosen = _methods(asked)
    reference = _reference(chosen, asked.against)
    said: list[str] = []
    interactions, settings, until, backbone = _start(workspace, asked, said.append)
    end = end_time(interactions, asked.end)
    protocol = cut_protocol(interactions, until, end, asked.edits, settings.engine)
    trains = backbone is None or any(one.strategy == "joint" for one in chosen)
    work = workspace.work / "compare" / _key(protocol, interactions, settings, backbone, trains)
    # What cannot be compared is refused in one line, before anything is said of the log.
    for line in said:
        tell(line)
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    run(protocol, settings, chosen, asked.seeds, work, workers=workers, progress=progress, backbone=backbone)
    by_key = {one.folder_name: one.name for one in chosen}
    names = {"never": by_key["never"], "joint": by_key.get("joint"), "reference": reference.name}
    origin = Origin(asked.log.name, interactions.digest, _shared(settings.engine))
    return comparison_result(origin, protocol, chosen, asked.seeds, work, **names, metric=asked.metric)  # type: ignore[arg-type]


def _methods(asked: Asked) -> tuple[Method, ...]:
    """Those asked for, and always the backbone that is never edited, which others are measured against."""
    texts = [text for text in re.split(r",(?![^\[]*\])", asked.strategies) if text.strip()]
    if not texts:
        raise UsageError(
            f"expected --strategies to name a strategy, found {asked.strategies!r}: leave it out for all"
        )
    return parse_methods([*(text.strip() for text in texts), "never"], ablations=asked.ablations)


def _reference(chosen: Sequence[Method], against: str | None) -> Method:
    if against is None:
        return next((one for one in chosen if one.folder_name == "raie"), chosen[0])
    wanted = {one.folder_name for one in parse_methods([against])}  # "all" is many
    found = [one for one in chosen if one.folder_name in wanted]
    if len(wanted) == len(found) == 1:
        return found[0]
    raise UsageError(f"expected --against to name one of --strategies, found {against!r}")


def _start(
    workspace: Workspace, asked: Asked, tell: Callable[[str], None]
) -> tuple[Interactions, Settings, int, tuple[bytes, bytes] | None]:
    """The log, how models are set up, where the set-up ends, and the backbone where there is one."""
    if asked.ref is None:
        require_code(workspace)
        settings = with_times(Settings(from_mapping(workspace.engine), asked.reading))
        interactions = read_log(asked.log, **vars(asked.reading))
        for line in told(interactions):
            tell(line)
        return interactions, settings, cut_time(interactions, asked.until), None
    registry = workspace.registry()
    snapshot = registry.resolve(workspace.model, asked.ref)
    kind = registry.edit(workspace.model, snapshot.edit).kind
    if kind != "setup":
        raise UsageError(f"expected --ref to name a set-up's snapshot, found one of kind {kind}: try edit:1")
    view = open_view(registry, snapshot, workspace.backbone_file)
    backbone = view.backbone.to_bytes()  # read before any file that the registry alone names could run
    settings = _located(view.settings, workspace.backbone_file)
    interactions = read_new(view, asked.log)
    known = known_ids(registry, workspace.model, snapshot, view, interactions, None)
    for line in (*told(interactions), known_line(known.to_mapping()), *doubt_line(known)):
        tell(line)
    return interactions, settings, view.watermark.timestamp, backbone


def _located(settings: Settings, backbone_file: Path | None) -> Settings:
    """The settings with the place where a file of the user's own lies here; at the set-up it may have been another."""
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
    """What all cells of a comparison depend on, besides contestant and seed. trains: whether one trains a backbone."""
    values = {"log": interactions.digest, "ends": protocol.ends, "engine": _shared(settings.engine)}
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
    found: dict[str, Any] = {}
    if chosen.reads_titles:
        found["titles"] = titles
    if chosen.source is not None:
        found["source"] = chosen.source
    if config.kind == "causal_lm" and trains:
        found["folder"] = _contents(Path(config.path))
    return found


def _contents(folder: Path) -> dict[str, str]:
    """sha256 of every file below a model folder, by its name; but for hidden ones, which no model reads."""
    if not folder.is_dir():
        raise ConfigError(f"expected a model folder to train a backbone from, found none at {folder}")
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            with path.open("rb") as file:
                found[name.as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def require_outputs(folder: Path) -> None:
    """Refuses a folder in which a table could not be written, before hours of computing. Raises: RaieError."""
    for name in _TABLES:
        require_free(folder / name, replace=True)


def write_files(found: ComparisonResult, metric: str, folder: Path) -> list[Path]:
    """The tables as Markdown, JSON and CSV, and the pictures; those of an earlier run are written over.

    Raises: RaieError where one of the names is that of a link or of something else than a regular file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(found.to_mapping()), indent=1, ensure_ascii=False, allow_nan=False)
    tables = zip(_TABLES, (markdown(found, metric), text, csv_text(found)), strict=True)
    written = []
    for name, data in (*((name, table.encode()) for name, table in tables), *pictures(found, metric)):
        with whole_file(folder / name, replace=True) as file:
            file.write(data)
        written.append(folder / name)
    return written
