"""vLLM's interface gets a verified folder for a name, and None for whatever may not be served.

vLLM itself is too large to be installed for the tests. A package of this name stands in for it, with the classes that the
plugin uses, as vLLM 0.33 declares them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from raie import vllm_plugin
from raie.registry import Author, trust
from tests.cli.trained import MODEL, opened


@dataclass
class Request:
    """vllm.lora.request.LoRARequest."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""

    def __post_init__(self) -> None:
        if self.lora_int_id < 1:
            raise ValueError(f"id must be > 0, got {self.lora_int_id}")
        assert self.lora_path


class Resolver(ABC):
    """vllm.lora.resolver.LoRAResolver."""

    @abstractmethod
    async def resolve_lora(self, base_model_name: str, lora_name: str) -> Request | None: ...


@dataclass
class Resolvers:
    """vllm.lora.resolver.LoRAResolverRegistry."""

    resolvers: dict[str, Resolver] = field(default_factory=dict)

    def register_resolver(self, resolver_name: str, resolver: Resolver) -> None:
        self.resolvers[resolver_name] = resolver


@pytest.fixture
def resolvers(monkeypatch: pytest.MonkeyPatch) -> Resolvers:
    """The resolvers that vLLM knows."""
    made = Resolvers()
    parts: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": Request},
        "vllm.lora.resolver": {"LoRAResolver": Resolver, "LoRAResolverRegistry": made},
    }
    for name, values in parts.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.fixture
def resolver(edited: Path, resolvers: Resolvers, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """This package's resolver of a workspace, as vLLM finds it when it starts."""
    monkeypatch.setenv("RAIE_WORKSPACE", str(edited))
    monkeypatch.setenv("RAIE_ACTOR", "ada")
    (plugin,) = entry_points(group="vllm.general_plugins", name="raie")
    plugin.load()()
    made = resolvers.resolvers["raie"]
    assert isinstance(made, Resolver)
    return made


def asked(resolver: Resolver, name: str) -> Request | None:
    return asyncio.run(resolver.resolve_lora("base", name))


def region_of(workspace: Path) -> int:
    regions = opened(workspace).resolve(MODEL, "head").content.regions
    return next(region for region, entry in regions.items() if "lora" in entry)


def test_an_alias_and_a_region_become_a_folder_that_is_named_by_its_digest(
    edited: Path, resolver: Resolver
) -> None:
    registry, region = opened(edited), region_of(edited)
    registry.promote(MODEL, "head", "production", Author("ada"))
    request = asked(resolver, f"{MODEL}@production/region-{region}")
    assert request is not None
    folder = Path(request.lora_path)
    assert folder.parent == edited / ".raie" / "lora"
    vllm_plugin.verified(folder, folder.name)
    facts = json.loads((folder / "raie_adapter.json").read_text())
    assert (facts["snapshot"], facts["region"]) == (registry.resolve(MODEL, "head").id, region)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "base"
    again = asked(resolver, f"{MODEL}@head/region-{region}")
    assert again is not None
    assert (again.lora_path, again.lora_int_id) == (request.lora_path, request.lora_int_id)
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    assert asked(resolver, f"{MODEL}@head/region-{region}") is None


def test_what_may_not_be_served_is_none(edited: Path, resolver: Resolver) -> None:
    registry, region = opened(edited), region_of(edited)
    for name in ("", "adapter", "other@head/region-0", f"{MODEL}@nothing/region-0", f"{MODEL}@head/region-99"):
        assert asked(resolver, name) is None
    for name in (f"{MODEL}@head/region-{region}/../..", f"{MODEL}@../region-{region}"):
        assert asked(resolver, name) is None
    registry.promote(MODEL, "head", "signed", Author("ada"))
    assert asked(resolver, f"{MODEL}@signed/region-{region}") is not None
    trust.set_policy(registry, MODEL, "signed", {"require_signed": True}, author=Author("owner"))
    assert asked(resolver, f"{MODEL}@signed/region-{region}") is None


def test_a_server_without_a_workspace_starts_as_before(
    resolvers: Resolvers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAIE_WORKSPACE", raising=False)
    vllm_plugin.register()
    assert resolvers.resolvers == {}
