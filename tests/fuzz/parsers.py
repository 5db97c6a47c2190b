"""Everything that reads bytes which somebody else may have written, as one table: for hypothesis and for the fuzzer.

A parser may take the bytes or refuse them with an error of its package's own tree. Any other exception, a hang or a
blown-up memory is a fault. Each has seeds: valid inputs, from which damaged ones are made.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch

from raie.engine.backbones import Contexts, ModelShape, SasRec, load_backbone
from raie.engine.config import AdapterConfig, EngineConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import cut_time, read_log
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.watermark import Watermark
from raie.engine.data.windows import Windows
from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.edit.plan import EditPlan, Operation, region_summary
from raie.engine.errors import EngineError
from raie.engine.model import Settings
from raie.engine.regions.buffer import AddBuffer
from raie.engine.regions.gate import Action
from raie.engine.regions.region_map import RegionMap, region_state
from raie.engine.regions.space import RoutingSpace
from raie.engine.training.adapter import Adapter, fresh_adapter
from raie.engine.training.transition_counts import TransitionCounts, count_transitions
from raie.proofs.envelope import read_envelope, seal
from raie.registry.errors import RegistryError
from raie.registry.promotion.signing import generate
from raie.registry.values import Content, Manifest, digest_of

__all__ = ["PARSERS", "REFUSALS", "Parser", "refused"]

REFUSALS = (EngineError, RegistryError)
SHAPE = ModelShape(items=6, length=4, dim=8, layers=1, heads=2)
FEW = np.arange(3, dtype=np.int32)


@dataclass(frozen=True)
class Parser:
    """read: takes bytes.  seeds: inputs it takes."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


def refused(parser: Parser, data: bytes) -> bool:
    """Whether the parser refuses the bytes; every error but the packages' own passes through."""
    try:
        parser.read(data)
    except REFUSALS as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error!s:.200}") from error
        return True
    return False


# A length in front of a header makes nearly every damaged input a wrong length and nothing more. So the parts of an
# input are lines here, which a parser's wrapper puts together with the lengths that they have.


def laid_open(blob: bytes) -> bytes:
    """A safetensors blob as lines: our own header, the header of the tensors, and the tensors' bytes."""
    length = int.from_bytes(blob[:8], "little")
    tensors = json.loads(blob[8 : 8 + length])
    own = tensors.pop("__metadata__", {}).get("header", "")
    return b"\n".join([own.encode(), json.dumps(tensors).encode(), blob[8 + length :]])


def put_together(lines: bytes) -> bytes:
    """The inverse of `laid_open`, for damaged lines too."""
    own, tensors, body = ([*lines.split(b"\n", 2), b"", b""])[:3]
    metadata = json.dumps({"__metadata__": {"header": own.decode("utf-8", "replace")}}).encode()
    header = metadata[:-1] + b"," + tensors[1:] if own else tensors
    return len(header).to_bytes(8, "little") + header + body


def join(*parts: bytes) -> bytes:
    """JSON blobs and a last one of any bytes as lines."""
    return b"\n".join(parts)


def _manifest() -> bytes:
    first, second = digest_of(b"1"), digest_of(b"2")
    content = Content(
        {"weights": first}, second, {"catalogue": (first, second)}, {0: {"state": first}, 12: {"lora": second}}
    )
    return Manifest("recsys", first, content).to_bytes()


def _windows() -> Windows:
    return Windows(np.ones((3, 4), np.int32), FEW, FEW, FEW.astype(np.int64))


def _plan() -> EditPlan:
    operation = Operation(0, Action.UPDATE, 3, 0, 0, (1.0, 0.0), 0.5, 0.6, 20.0, 9, 0.1, None, 0)
    marks: dict[str, Any] = {
        f"{name}{part}": np.zeros(3, kind)
        for name in ("", "buffer_")
        for part, kind in (("action", np.int8), ("region", np.int32))
    }
    marks["decided_action"] = np.zeros(3, np.int8)
    return EditPlan("p", 1, "s", "m", "w", "b", "radius", {"movement": 0.2}, (operation,), **marks)


def _prepared() -> bytes:
    mark, plan = Watermark(1_700_000_000, 9), _plan()
    vectors, rows = np.ones((3, 2), np.float32), torch.ones(1, 8)
    return PreparedEdit(plan, _windows(), vectors, rows, _chunk(), mark, 0, 1_700_000_000).to_bytes()


def _chunk() -> bytes:
    return Catalogue(("ada", "grace"), ("a", "b", "c")).chunk_since(Catalogue())


def _map() -> RegionMap:
    half = np.full(1, 0.5, np.float32)
    return RegionMap(FEW[:1], np.array([[1, 0]], np.float32), half, half, half, np.ones(1, np.int64), "space")


def _adapter() -> dict[str, bytes]:
    backbone = SasRec.fresh(SHAPE).eval().requires_grad_(False)
    return fresh_adapter(backbone, AdapterConfig(), torch.tensor([1, 4]), 0).to_blobs()


def _read_transitions(data: bytes) -> None:
    TransitionCounts.from_bytes(data).after(_windows().items)


def _read_adapter(lora_config: bytes, item_rows: bytes, lora: bytes) -> None:
    Adapter.from_blobs({"lora_config": lora_config, "item_rows": item_rows, "lora": lora}).to_blobs()


def _read_backbone(data: bytes) -> None:
    config, _, weights = data.partition(b"\n")
    backbone = load_backbone(config, put_together(weights))
    backbone.encode(Contexts(torch.ones(1, min(backbone.length, 4), dtype=torch.int64)))


def _read_plan(data: bytes) -> None:
    plan = EditPlan.from_bytes(data)
    assert EditPlan.from_bytes(plan.to_bytes()) == plan
    region_summary(_map(), plan)


def _log(suffix: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        file = _FOLDER / f"{os.getpid()}{suffix}"
        file.write_bytes(data)
        return read_log(file, min_rating=2.0, duplicates="drop").digest

    return read


_FOLDER = Path(tempfile.mkdtemp(prefix="raie-parsers-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_ROWS = [("ada", "a", 3.0, 1_700_000_000), ("grace", "b", 5.0, 1_700_000_060), ("ada", "b", 4.0, 1_700_000_120)]
_NAMES = ("user_id", "item_id", "rating", "timestamp")


def _csv() -> bytes:
    return "\n".join(",".join(map(str, row)) for row in [_NAMES, *_ROWS]).encode()


def _jsonl() -> bytes:
    return "\n".join(json.dumps(dict(zip(_NAMES, row, strict=True))) for row in _ROWS).encode()


def _parquet(compression: str) -> bytes:
    columns = dict(zip(_NAMES, map(list, zip(*_ROWS, strict=True)), strict=True))
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table(columns), sink, compression=compression)
    return sink.getvalue().to_pybytes()


def _time(data: bytes) -> object:
    log = _FOLDER / "times.csv"
    if not log.exists():
        log.write_bytes(_csv())
    return cut_time(read_log(log), data.decode("utf-8", "replace"))


_SPACE = RoutingSpace(np.ones(2, np.float32), np.ones((1, 2), np.float32), "backbone")
_BACKBONE = SasRec.fresh(SHAPE).to_bytes()

_BLOBS = _adapter()


def _packed(read: Callable[[bytes], object], blob: bytes) -> Parser:
    """A parser of safetensors, whose input is laid open."""
    return Parser(lambda lines: read(put_together(lines)), (laid_open(blob),))


PARSERS: Mapping[str, Parser] = {
    "manifest": Parser(Manifest.from_bytes, (_manifest(),)),
    "safetensors": Parser(lambda data: Windows.from_bytes(data).digest, (_windows().to_bytes(),)),
    "windows": _packed(lambda data: Windows.from_bytes(data).digest, _windows().to_bytes()),
    "plan": _packed(_read_plan, _plan().to_bytes()),
    "prepared edit": _packed(lambda data: PreparedEdit.from_bytes(data).to_bytes(), _prepared()),
    "lora": _packed(lambda data: _read_adapter(_BLOBS["lora_config"], _BLOBS["item_rows"], data), _BLOBS["lora"]),
    "lora_config": Parser(
        lambda data: _read_adapter(data, _BLOBS["item_rows"], _BLOBS["lora"]), (_BLOBS["lora_config"],)
    ),
    "item_rows": _packed(
        lambda data: _read_adapter(_BLOBS["lora_config"], data, _BLOBS["lora"]), _BLOBS["item_rows"]
    ),
    "transitions": _packed(_read_transitions, count_transitions(_windows(), 2, 0.3, 7).to_bytes()),
    "backbone": Parser(_read_backbone, (join(_BACKBONE[0], laid_open(_BACKBONE[1])),)),
    "region": _packed(lambda data: RegionMap.from_states({0: data}, "space").digest, region_state(_map(), 0)),
    "routing space": _packed(lambda data: RoutingSpace.from_bytes(data).digest, _SPACE.to_bytes()),
    "add buffer": _packed(lambda data: AddBuffer.from_bytes(data).digest, AddBuffer.empty(4, 2, "s").to_bytes()),
    "catalogue": Parser(lambda data: Catalogue.from_chunks([data]).item_rows([]), (_chunk(),)),
    "watermark": Parser(Watermark.from_bytes, (Watermark(1_700_000_000, 9).to_bytes(),)),
    "settings": Parser(Settings.from_bytes, (Settings(EngineConfig(), LogSettings()).to_bytes(),)),
    "csv log": Parser(_log(".csv"), (_csv(),)),
    "jsonl log": Parser(_log(".jsonl"), (_jsonl(),)),
    "parquet log": Parser(_log(".parquet"), (_parquet("none"), _parquet("snappy"))),
    "dat log": Parser(_log(".dat"), (b"1::10::5::978300760\n1::20::3::978302109\n",)),
    "envelope": Parser(read_envelope, (seal("text/plain", b"signed", generate()),)),
    "point in time": Parser(_time, (b"0.5", b"2000-10-27T00:00:00Z", b"978300760")),
}
