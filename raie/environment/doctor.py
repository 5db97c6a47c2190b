"""Whether everything that raie stands on is well: the machine, and the workspace with its database, store and MLflow.

Each check is one line with what to do. Nothing is changed but the probe, a small object that the store is given, asked
for and made to delete.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raie.configuration.folder_owner import is_own
from raie.environment.machine_checks import (
    Check,
    State,
    disk_checks,
    extra_checks,
    package_checks,
    python_check,
    torch_check,
)
from raie.errors import RaieError
from raie.key_files import KEY, public_path
from raie.registry import LocalStore, RegistryError, StoreFull, StoreUnreachable, trust
from raie.registry.access.held_rights import held_rights
from raie.registry.access.schema_rights import warnings_of
from raie.registry.db.engine import clock_skew_s, reading
from raie.registry.db.shown_url import shown
from raie.registry.db.tables import SCHEMA_REVISION
from raie.registry.mlflow import publisher
from raie.registry.ownership import standing
from raie.registry.store.open import open_store
from raie.workspace import FILE_NAME

if TYPE_CHECKING:
    from raie.registry import Registry
    from raie.workspace import Workspace

__all__ = ["Diagnosis", "doctor"]

_SKEW_S = 30.0
"""Leases and the age of evaluations compare clocks; this much is well within what they allow."""


@dataclass(frozen=True)
class Diagnosis:
    """Every check, in the order in which one needs the one before."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> bool:
        """Whether somebody has to act before raie works."""
        return any(check.state == State.FAIL for check in self.checks)


def doctor(workspace: Workspace | None) -> Diagnosis:
    """Check the machine, and a workspace with what it stands on.

    Args:
        workspace: As it was read; None checks the machine alone.

    Returns:
        Every check. Nothing that fails is raised.
    """
    checks = [python_check(), *package_checks(), *extra_checks(_needed_extras(workspace)), torch_check()]
    checks += disk_checks({} if workspace is None else _folders(workspace))
    if workspace is None:
        advice = "`raie init` makes one; --workspace names another"
        checks.append(Check("workspace", State.SKIPPED, f"no {FILE_NAME} here or above", advice))
        return Diagnosis(tuple(checks))
    return Diagnosis((*checks, *_of_workspace(workspace)))


def _needed_extras(workspace: Workspace | None) -> dict[str, str]:
    if workspace is None:
        return {}
    needed = {"postgres": "the database"} if workspace.database.startswith("postgres") else {}
    needed |= {"s3": "the store"} if workspace.store.startswith("s3://") else {}
    return needed | ({"ray": "the executor"} if workspace.executor == "ray" else {})


def _folders(workspace: Workspace) -> dict[str, Path]:
    folders = {"the workspace": workspace.folder}
    return folders if "://" in workspace.store else folders | {"the store": Path(workspace.store)}


def _of_workspace(workspace: Workspace) -> Iterator[Check]:
    yield _file(workspace)
    yield from _tried("options", lambda: _options(workspace))
    registry, problem = _opened(workspace)
    yield problem or Check(
        "database", State.OK, f"{shown(workspace.database)} answers, revision {SCHEMA_REVISION}"
    )
    if registry is None:
        yield from _tried("store", lambda: _store(workspace, None))
        for name in ("rights", "clock", "owner", "mlflow", "keys"):
            yield Check(name, State.SKIPPED, "needs the database")
        return
    for name, made in (
        ("rights", lambda: _rights(registry)),
        ("clock", lambda: _clock(registry)),
        ("store", lambda: _store(workspace, registry)),
        ("owner", lambda: _owner(registry)),
        ("mlflow", lambda: _mlflow(workspace, registry)),
        ("keys", lambda: _keys(workspace, registry)),
    ):
        yield from _tried(name, made)


def _tried(name: str, made: Callable[[], list[Check]]) -> list[Check]:
    """The checks, or the error that stood in their way as a check that fails."""
    try:
        return made()
    except (RegistryError, RaieError, OSError) as error:
        return [Check(name, State.FAIL, _line(error))]


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")
    return " ".join(str(error).split())


def _file(workspace: Workspace) -> Check:
    file = workspace.folder / FILE_NAME
    if not is_own(file):
        advice = "options that run Python of it are ignored; copy it, or name the folder in RAIE_TRUST_WORKSPACE"
        return Check("workspace", State.WARN, f"{file} belongs to another user", advice)
    return Check("workspace", State.OK, f"{file} is read, model {workspace.model}")


def _options(workspace: Workspace) -> list[Check]:
    from raie.engine.config import from_mapping
    from raie.engine.errors import ConfigError

    try:
        from_mapping(dict(workspace.engine))
    except ConfigError as error:
        return [Check("options", State.FAIL, _line(error), f"mend [engine] of {workspace.folder / FILE_NAME}")]
    return [Check("options", State.OK, "every option of the engine is known")]


def _opened(workspace: Workspace) -> tuple[Registry | None, Check | None]:
    try:
        return workspace.registry(), None
    except (RegistryError, RaieError) as error:
        return None, Check("database", State.FAIL, _line(error))


def _rights(registry: Registry) -> list[Check]:
    """What the role may do, and who may do more than they should."""
    with reading(registry.engine) as connection:
        held = held_rights(connection)
    if held is None:
        writable = os.access(str(registry.engine.url.database), os.W_OK)
        may = "may be written" if writable else "may only be read"
        return [Check("rights", State.OK if writable else State.WARN, f"the database's file {may}")]
    if held.owner:
        checks = [Check("rights", State.OK, "owner of the tables, who may do everything")]
    else:
        checks = [Check("rights", State.OK, f"may act as {', '.join(held.roles) or 'nobody'}")]
    checks += [
        Check("rights", State.WARN, f"lacks {', '.join(lacks)} of {role}", "the owner runs `raie db grant` again")
        for role, lacks in held.lacking.items()
    ]
    return checks + [Check("rights", State.WARN, line) for line in warnings_of(registry.engine)]


def _clock(registry: Registry) -> list[Check]:
    skew = clock_skew_s(registry.engine)
    if skew is None:
        return [Check("clock", State.SKIPPED, "the database has the clock of this machine")]
    shown_skew = f"the database's clock is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) > _SKEW_S:
        return [Check("clock", State.WARN, shown_skew, "let both follow a time server (NTP)")]
    return [Check("clock", State.OK, shown_skew)]


def _store(workspace: Workspace, registry: Registry | None) -> list[Check]:
    """Puts, reads, lists and deletes a probe, in the registry's own part of the store."""
    store = open_store(workspace.store)
    where = shown(workspace.store)
    try:
        store.require_place()
        # A folder's probe lies beside the parts of registries, so that no folder of a part is made for it.
        (store if registry is None or isinstance(store, LocalStore) else registry.store).probe()
    except (StoreUnreachable, StoreFull) as error:
        return [Check("store", State.FAIL, _line(error))]
    return [Check("store", State.OK, f"{where} keeps, lists and deletes a probe")]


def _owner(registry: Registry) -> list[Check]:
    state = standing.look(registry)
    if state.read_only is not None:
        return [Check("owner", State.FAIL, state.read_only)]
    if state.shared is not None:
        return [Check("owner", State.WARN, state.shared)]
    return [Check("owner", State.OK, f"registry {state.epoch.registry} owns {state.epoch.prefix or 'the store'}")]


def _mlflow(workspace: Workspace, registry: Registry) -> list[Check]:
    state = publisher.status(registry, workspace.tracking_uri)
    where = shown(workspace.tracking_uri)
    if not state.reachable:
        if workspace.tracking_uri.startswith("sqlite"):
            return [Check("mlflow", State.OK, f"{where} is not made yet", "`raie mlflow sync` makes it")]
        return [Check("mlflow", State.WARN, f"{where} does not answer", "start it; events wait until then")]
    checks = [
        Check("mlflow", State.FAIL, f"alias {gap.alias} is elsewhere in MLflow", "`raie mlflow sync` puts it back")
        for gap in state.aliases
    ]
    pending = f"{state.pending} event{'s' * (state.pending != 1)} to publish"
    return checks or [Check("mlflow", State.OK, f"{where} answers, aliases agree, {pending}")]


def _keys(workspace: Workspace, registry: Registry) -> list[Check]:
    return [*_trusted_keys(workspace, registry), *_own_key(workspace, registry)]


def _trusted_keys(workspace: Workspace, registry: Registry) -> list[Check]:
    """Whether what must be signed can be."""
    if workspace.model not in registry.models():
        return [Check("keys", State.OK, "no model yet, and no policy")]
    trusted = [key for key in trust.keys(registry, workspace.model) if key.trusted]
    newest = {version.alias: version.policy for version in reversed(trust.policies(registry, workspace.model))}
    signed = sorted(alias for alias, policy in newest.items() if policy.protected and policy.require_signed)
    if signed and not trusted:
        advice = "`raie keys generate` makes a key, and `raie keys trust` trusts it"
        return [Check("keys", State.FAIL, f"{', '.join(signed)} must be signed, and no key is trusted", advice)]
    return [
        Check(
            "keys",
            State.OK,
            f"{len(trusted)} trusted; signatures are required for {', '.join(signed) or 'no alias'}",
        )
    ]


def _own_key(workspace: Workspace, registry: Registry) -> list[Check]:
    """The private key that RAIE_SIGNING_KEY names: there, and readable by nobody else. It is not opened."""
    named = os.environ.get(KEY)
    if not named:
        return []
    file = Path(named)
    if not file.is_file():
        return [Check("keys", State.FAIL, f"{KEY} names {file}, which is no file", "name the file of a key")]
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return [Check("keys", State.WARN, f"others may read the private key {file}", f"`chmod 600 {file}`")]
    if not public_path(file).is_file():
        return [Check("keys", State.OK, f"private key {file}, for its owner alone")]
    from raie.registry.promotion import signing

    key = signing.read_public(public_path(file).read_bytes())
    known = workspace.model in registry.models()
    if known and key not in {k.key for k in trust.keys(registry, workspace.model) if k.trusted}:
        advice = f"`raie keys trust {public_path(file)} --name NAME`"
        return [Check("keys", State.WARN, f"nobody trusts the key {file}", advice)]
    return [Check("keys", State.OK, f"private key {file}, for its owner alone")]
