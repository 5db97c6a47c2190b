"""The outbox's consumer: an edit becomes a run, its regions child runs, its snapshot a model version.

    edit run ── in: parent snapshot, data ── out: snapshot ──> version n of the registered model, with its aliases
      └─ region run ── in: the region's version before ── out: its version after (an external model: no bytes)

MLflow is written to, never asked: the registry stays the only truth and keeps all bytes. Every create carries a
transaction tag and is preceded by a search for it, so an event that is published twice adds nothing.

An alias is set to where the registry has it now, never to where an event of the past moved it: whoever reads MLflow
meets no older state after a newer one, however late or often the events are published.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from raie.registry.db.shown_url import shown
from raie.registry.errors import MlflowUnreachable, NotFound, RegistryError
from raie.registry.mlflow import payload as record
from raie.registry.mlflow.alias_moves import publish_alias, publish_deletion, remove_alias, set_alias
from raie.registry.mlflow.alias_table import (
    AliasGap,
    gap_of,
    moved_by_hand,
    pending_aliases,
    shown_aliases,
)
from raie.registry.mlflow.client import (
    REQUEST_S,
    answers,
    checked_uri,
    is_refusal,
    is_unreachable,
    no_answer,
    open_client,
    quiet_mlflow,
    secrets_hidden,
)
from raie.registry.mlflow.edit_facts import EditFacts, FactsOf, blob_sizes, no_facts
from raie.registry.mlflow.history_artifact import publish_history
from raie.registry.mlflow.lineage_page import lineage_page
from raie.registry.mlflow.model_files import model_files
from raie.registry.mlflow.payload import Payload, millis
from raie.registry.mlflow.region_page import region_version_tags
from raie.registry.mlflow.upserts import ModelUpserts, dataset, folder_of, log, region_parts
from raie.registry.mlflow.version_page import PageLinks, version_description
from raie.registry.outbox import Progress, clean_errors, drain, outbox_status, requeue
from raie.registry.outbox_records import (
    ALIAS_DELETED,
    ALIAS_MOVED,
    SNAPSHOT_COMMITTED,
    OutboxEvent,
    OutboxStatus,
    SyncReport,
)
from raie.registry.times import utc_text
from raie.registry.values import Content

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine

from raie.registry.progress import OnProgress, ignore_progress
from raie.registry.registry import Registry

__all__ = ["MlflowPublisher", "status", "sync"]

_LASTING_ATTEMPTS = 5
"""An event that failed so often without an outage will fail again."""


def sync(
    registry: Registry,
    tracking_uri: str,
    model_code: str,
    *,
    again: bool = False,
    progress: OnProgress = ignore_progress,
    history_page: Callable[[str], str] | None = None,
    facts: FactsOf = no_facts,
) -> SyncReport:
    """Publishes the pending events to MLflow, and puts back the aliases that it shows elsewhere than the registry.

    With nothing to do MLflow is not even imported.

    Args:
        registry: whose events.
        tracking_uri: MLflow's.
        model_code: the Python of a published model, which loads its snapshot from a registry.
        again: publish the whole history once more, which adds only what MLflow does not have.
        progress: called as events are published.
        history_page: the page of a model's whole history, by its name; each model of which something was published gets
            a new one. None for no such page.
        facts: what is known of an edit beside its event.

    Returns: what was done.
    Raises: InvalidValue for a URI that is none, DatabaseUnreachable where the registry's database is, and NotOwner for
        a copy of a registry: the other one publishes the same.
    """
    publisher = MlflowPublisher(tracking_uri, registry.engine, model_code, facts)
    registry.require_writable(store_needed=False)
    clean_errors(registry.engine, publisher.hide)
    if again:
        requeue(registry.engine)
    report = drain(registry.engine, publisher, hide=publisher.hide, is_lasting=_is_lasting, on_progress=progress)
    if report.stopped is not None:
        return report
    try:
        others_at_work = report.leased_until is not None
        compared, gaps = publisher.close_gaps(others_at_work=others_at_work, progress=progress)
        report = replace(report, aliases=gaps, compared=compared)
        if history_page is not None:
            publisher.publish_histories(history_page)
    except MlflowUnreachable as error:
        return replace(report, stopped=publisher.hide(str(error)))
    return report


def status(registry: Registry, tracking_uri: str | None = None) -> OutboxStatus:
    """How far MLflow is behind the registry.

    With a tracking URI also whether MLflow answers, where it shows each alias, and which of them no sync brought there.
    """
    if tracking_uri is None:
        return outbox_status(registry.engine)
    uri = checked_uri(tracking_uri)
    state = outbox_status(registry.engine, secrets_hidden(uri))
    reachable = answers(uri)
    aliases = (shown_aliases(registry.engine, uri) if reachable else None) or ()
    gaps = tuple(gap_of(alias) for alias in aliases if moved_by_hand(registry.engine, alias))
    return replace(state, reachable=reachable, aliases=gaps, shown_aliases=aliases)


def _is_lasting(event: OutboxEvent, error: Exception) -> bool:
    """Whether trying again cannot mend an event's error; what concerns its whole model holds the model back."""
    if isinstance(error, MlflowUnreachable):
        return False
    if isinstance(error, NotFound):
        return event.kind != SNAPSHOT_COMMITTED
    return is_refusal(error) or event.attempts >= _LASTING_ATTEMPTS


class MlflowPublisher:
    """Publishes events to one tracking URI; connects when the first event comes.

    tracking_uri: MLflow's.  engine: of the registry's database, which says where an alias points now.
    model_code: the Python of a published model.  facts: what is known of an edit beside its event.
    """

    def __init__(self, tracking_uri: str, engine: Engine, model_code: str, facts: FactsOf = no_facts) -> None:
        self._uri = checked_uri(tracking_uri)
        self._engine = engine
        self._model_code = model_code
        self._facts = facts
        self._client: MlflowClient | None = None
        self._published = set[str]()
        self.hide = secrets_hidden(self._uri)

    @property
    def target(self) -> str:
        """The tracking URI without a password."""
        return shown(self._uri)

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        """Publishes one event step by step.

        Raises MlflowUnreachable where MLflow does not answer, NotFound for an alias of an unknown snapshot.
        """
        with quiet_mlflow():
            try:
                self._client = self._client or open_client(self._uri)
                self._publish(self._client, event, progress)
                self._published.add(event.model)
            except RegistryError:
                raise
            except Exception as error:
                if is_unreachable(error):
                    raise MlflowUnreachable(no_answer(self._uri, _reason(error))) from error
                raise

    def _publish(self, client: MlflowClient, event: OutboxEvent, progress: Progress) -> None:
        upserts = ModelUpserts(client, self._uri, event.model, progress)
        if event.kind == SNAPSHOT_COMMITTED:
            _publish_edit(upserts, event.payload, self._model_code, self._facts(event), self._sizes(event.payload))
        elif event.kind == ALIAS_MOVED:
            publish_alias(upserts, self._engine, event.payload)
        elif event.kind == ALIAS_DELETED:
            publish_deletion(upserts, self._engine, event.payload)
        else:
            raise NotFound(f"Expected an event of a known kind, found {event.kind!r}; upgrade raie")

    def _sizes(self, payload: Payload) -> Mapping[str, int]:
        """Of the blobs of the regions that an edit changed, in bytes."""
        regions = payload["snapshot"]["content"]["regions"]
        changed = (regions.get(str(change["region"]), {}) for change in payload["changes"])
        return blob_sizes(self._engine, (digest for entry in changed for digest in entry.values()))

    def publish_histories(self, history_page: Callable[[str], str]) -> None:
        """Puts the page of the whole history into MLflow for each model of which this publisher has published something.

        Args:
            history_page: the page of a model, by its name.

        Raises: MlflowUnreachable where MLflow stops answering, or refuses a page.
        """
        for model in sorted(self._published):
            page = history_page(model)
            with quiet_mlflow():
                from mlflow.exceptions import MlflowException

                try:
                    self._client = self._client or open_client(self._uri)
                    # Outside of an event: no record of finished steps precedes its creates.
                    upserts = ModelUpserts(self._client, self._uri, model, Progress({}, lambda steps: None))
                    publish_history(upserts, page)
                # Of requests, every error is an OSError; a file of MLflow's records raises SQLAlchemy's.
                except (MlflowException, NotFound, OSError, SQLAlchemyError) as error:
                    raise MlflowUnreachable(
                        f"Expected MLflow at {self.target} to take the page of {model!r}, found "
                        f"{' '.join(str(error).split())}; all events are published, the next change writes the page"
                    ) from error

    def close_gaps(
        self, *, others_at_work: bool, progress: OnProgress = ignore_progress
    ) -> tuple[int, tuple[AliasGap, ...]]:
        """Sets every alias that MLflow shows elsewhere than the registry.

        Args:
            others_at_work: whether another relay publishes now; what still waits for an event is left to it.

            progress: called as aliases are compared, and as they are set.

        Returns: how many aliases were compared, and those that were set or taken away, or could not be although MLflow
            got their last moves.
        Raises: MlflowUnreachable where MLflow does not say where its aliases are, or stops answering meanwhile.
        """
        shown_there = shown_aliases(self._engine, self._uri, partial(progress, "comparing aliases"))
        if shown_there is None:
            raise MlflowUnreachable(
                f"Expected MLflow at {self.target} to say where its aliases are, found no answer; all events are "
                "published, the next sync compares the aliases"
            )
        gaps = [gap_of(alias) for alias in shown_there if alias.differs]
        pending = pending_aliases(self._engine) if gaps else set()
        wanted = [gap for gap in gaps if not others_at_work or (gap.model, gap.alias) not in pending]
        closed = []
        for number, gap in enumerate(wanted):
            progress(f"setting aliases, {gap.alias}", number, len(wanted))
            closed.append(self._closed(gap))
        # Of the others the events say why they wait.
        return len(shown_there), tuple(
            gap for gap in closed if gap.is_closed or (gap.model, gap.alias) not in pending
        )

    def _closed(self, gap: AliasGap) -> AliasGap:
        with quiet_mlflow():
            from mlflow.exceptions import MlflowException

            try:
                self._client = self._client or open_client(self._uri)
                upserts = ModelUpserts(self._client, self._uri, gap.model, Progress({}, lambda steps: None))
                if gap.snapshot is None:
                    return replace(gap, removed=remove_alias(upserts, self._engine, gap.alias))
                return replace(gap, version=set_alias(upserts, self._engine, gap.alias))
            except NotFound as error:
                return replace(gap, error=str(error))
            except MlflowException as error:
                if is_unreachable(error):
                    raise MlflowUnreachable(no_answer(self._uri, _reason(error))) from error
                return replace(gap, error=" ".join(self.hide(str(error)).split()))


def _reason(error: Exception) -> str:
    """What went wrong in a few words; MLflow's own text repeats the request and its advice."""
    known = {"refused": "nothing there", "timed out": f"no answer within {REQUEST_S} s"}
    text = f"{error} {error.__cause__ or error.__context__}"
    kind = type(error.__cause__ or error.__context__ or error).__name__
    return next((words for sign, words in known.items() if sign in text), f"a broken connection ({kind})")


def _publish_edit(
    upserts: ModelUpserts, payload: Payload, model_code: str, facts: EditFacts, sizes: Mapping[str, int]
) -> None:
    step, snapshot, edit = upserts.progress.step, payload["snapshot"], payload["edit"]
    key = record.event_key(payload)
    experiment = step("experiment", upserts.experiment)
    step("registered model", upserts.registered_model)
    parent_id = snapshot["parent"]
    parent = step("parent", lambda: None if parent_id is None else upserts.version_of(parent_id))
    name, tags = f"edit {edit['number']}: {edit['kind']}", record.edit_tags(upserts.model, payload)
    run = step("edit", lambda: upserts.run(experiment, f"{key}:edit", name, tags, edit["created_at"]))
    work = _Work(upserts, payload, key, experiment, run, parent, model_code, facts, sizes)
    regions = dict(work.untouched())
    for position, change in enumerate(payload["changes"]):
        published = _publish_region(work, position, change)
        if published is not None:
            regions[str(change["region"])] = published
    model = step("snapshot model", work.snapshot_model)
    step("snapshot files", lambda: work.snapshot_files(model))
    step("edit record", lambda: work.edit_record(model))
    version = step("version", lambda: work.version(model, regions))
    step("edit end", lambda: work.end(model, version))


def _publish_region(work: _Work, position: int, change: Payload) -> dict[str, Any] | None:
    """The region's version as later edits find it; None where the region was retired."""
    step = work.upserts.progress.step
    run = step(f"region {position}", lambda: work.region_run(position, change))
    adapter = step(f"adapter {position}", lambda: work.adapter(run, change))
    step(f"region record {position}", lambda: work.region_record(run, adapter, change))
    return adapter


@dataclass(frozen=True)
class _Work:
    """One edit on its way into MLflow; parent: the parent snapshot's version there, None where there is none.

    model_code: the Python of a published model.  facts: what is known beside the event.
    sizes: of the blobs of the regions that it changed, in bytes.
    """

    upserts: ModelUpserts
    payload: Payload
    key: str
    experiment: str
    edit_run: str
    parent: Mapping[str, Any] | None
    model_code: str
    facts: EditFacts
    sizes: Mapping[str, int]

    def untouched(self) -> Mapping[str, Any]:
        """The parent's region versions that the snapshot still has."""
        before = self.parent["regions"] if self.parent else {}
        after = self.payload["snapshot"]["content"]["regions"]
        changed = {str(change["region"]) for change in self.payload["changes"]}
        # Where MLflow refused the parent, or an earlier snapshot, its adapters may still be there by their bytes.
        lost = {r: entry for r, entry in after.items() if r not in before and r not in changed}
        keys = {r: record.adapter_key(self.upserts.model, int(r), entry) for r, entry in lost.items()}
        adapters = {r: self.upserts.adapter_of(self.experiment, key) for r, key in keys.items()}
        return {r: self._inherited(before[r]) for r in after if r in before} | {
            r: adapter for r, adapter in adapters.items() if adapter
        }

    def _inherited(self, region: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parent's region with the edit and the version that brought it there, where the parent's own edit did."""
        assert self.parent is not None
        # Earlier releases recorded neither: of what they published nobody knows since when it was there.
        if "edit" not in region or "since" in region or "edit" not in self.parent:
            return region
        return {**region, "since": self.parent["edit"], "in": self.parent["version"]}

    def region_run(self, position: int, change: Payload) -> str:
        """The id of the child run of one region."""
        tags = record.region_tags(self.upserts.model, self.payload, change) | {"mlflow.parentRunId": self.edit_run}
        name = f"region {change['region']}: {change['action']}"
        key = f"{self.key}:region:{position}"
        return self.upserts.run(self.experiment, key, name, tags, self.payload["edit"]["created_at"])

    def adapter(self, run: str, change: Payload) -> dict[str, Any] | None:
        """The external model of the region's new version; a rollback finds the one it goes back to."""
        entry = self.payload["snapshot"]["content"]["regions"].get(str(change["region"]))
        if entry is None or change.get("version") is None:
            return None
        region, version = change["region"], change["version"]
        before = self._before(change)
        sizes = [self.sizes.get(digest) for digest in entry.values()]
        tags = region_version_tags(
            self.payload,
            change,
            entry,
            size=None if None in sizes else sum(filter(None, sizes)),
            before=None if before is None else (before["version"], self._links().adapter(before["model_id"])),
            edit_link=self._links().run(self.edit_run),
        )
        key = record.adapter_key(self.upserts.model, region, entry)
        name = record.adapter_name(self.upserts.model, region, version)
        params = record.shown_params(self.facts.params)
        model = self.upserts.logged_model(self.experiment, key, name, run, tags, "region adapter", params)
        return self.upserts.region_version(model)

    def region_record(self, run: str, adapter: Mapping[str, Any] | None, change: Payload) -> None:
        """Metrics, edges and end of one region's run."""
        before, after = self._before(change), adapter["model_id"] if adapter else None
        # A version that comes back was measured by the edit that made it: its metrics stand there.
        is_new = adapter is not None and adapter.get("edit") in (None, self.payload["edit"]["number"])
        params, metrics = record.shown_params(self.facts.params), record.region_metrics(change)
        if is_new:
            log(self.upserts.client, run, params, metrics, self._at(), after)
        else:
            moved = {name: metrics[name] for name in record.MOVED_METRICS}
            log(self.upserts.client, run, {}, moved, self._at(), None)
        self._edges(run, before["model_id"] if before else None, after)
        if after is not None:
            self.upserts.client.finalize_logged_model(after, "READY")
        self.upserts.client.set_terminated(run, "FINISHED", self._ended())

    def snapshot_model(self) -> str:
        """The id of the snapshot's logged model: code that loads it from the registry, and its digests."""
        snapshot = self.payload["snapshot"]["id"]
        name = record.snapshot_name(self.upserts.model, snapshot)
        tags = {"raie.snapshot": snapshot}
        model = self.upserts.logged_model(self.experiment, snapshot, name, self.edit_run, tags, "snapshot")
        return str(model.model_id)

    def snapshot_files(self, model: str) -> None:
        """Uploads the snapshot's model: code and digests, no weights."""
        edit = self.payload["edit"]
        at = utc_text(edit.get("closed_at") or edit["created_at"])
        files = model_files(
            self.upserts.model, self.payload["snapshot"], model, self.edit_run, at, self.model_code
        )
        with folder_of(files) as folder:
            self.upserts.client.log_model_artifacts(model, folder)
        self.upserts.client.finalize_logged_model(model, "READY")

    def edit_record(self, model: str) -> None:
        """Params, metrics, data, edges and artifacts of the edit's run."""
        client, payload = self.upserts.client, self.payload
        params = record.shown_params(self.facts.params) | record.edit_params(payload)
        log(client, self.edit_run, params, record.edit_metrics(payload), self._at(), None)
        # An earlier release gave all edits of one log one data set, which has the first edit's rows.
        if payload["edit"].get("data_digest") and not client.get_run(self.edit_run).inputs.dataset_inputs:
            client.log_inputs(self.edit_run, [dataset(payload, self.facts.data)])
        self._edges(self.edit_run, self.parent["model_id"] if self.parent else None, model)
        files = {
            "lineage.html": lineage_page(self.upserts.model, payload),
            "event.json": json.dumps(payload, indent=1, sort_keys=True),
        } | record.full_texts(payload)
        with folder_of(files) as folder:
            client.log_artifacts(self.edit_run, folder)

    def version(self, model: str, regions: Mapping[str, Any]) -> str:
        """The snapshot's version of the registered model."""
        client, name = self.upserts.client, self.upserts.name
        description, parts = self._description(regions), region_parts(regions)
        described = {record.DESCRIBED: record.text_key(description)}
        known = self.upserts.model_version(self.payload["snapshot"]["id"])
        if known is not None:
            self.upserts.describe_anew(known, description, parts | described)
            return str(known.version)
        source = client.get_logged_model(model).artifact_location
        tags = record.version_tags(self.payload, self._content_digest())
        tags |= {"raie.logged_model": model} | parts | described
        created = client.create_model_version(name, source, self.edit_run, tags, None, description, 0, model)
        return str(created.version)

    def end(self, model: str, version: str) -> None:
        """Ends the edit's run and names the version on the snapshot's model, as MLflow's server would."""
        versions = json.dumps([{"name": self.upserts.name, "version": int(version)}])
        self.upserts.client.set_logged_model_tags(model, {"mlflow.modelVersions": versions})
        self.upserts.client.set_terminated(self.edit_run, "FINISHED", self._ended())

    def _description(self, regions: Mapping[str, Any]) -> str:
        return version_description(self.payload, self._links(), regions, self.facts.data)

    def _links(self) -> PageLinks:
        parent = self.upserts.link_to_version(self.parent["version"]) if self.parent else None
        edit = self.upserts.link_to_run(self.experiment, self.edit_run)
        return PageLinks(self.upserts.name, self.experiment, edit, parent)

    def _before(self, change: Payload) -> Mapping[str, Any] | None:
        """The region's version in the parent, as the parent's tags have it."""
        regions: Mapping[str, Any] = self.parent["regions"] if self.parent else {}
        return regions.get(str(change["region"]))

    def _edges(self, run: str, before: str | None, after: str | None) -> None:
        from mlflow.entities import LoggedModelInput, LoggedModelOutput

        if before is not None:
            self.upserts.client.log_inputs(run, models=[LoggedModelInput(before)])
        if after is not None:
            # MLflow refuses the same output twice, where it accepts the same input twice.
            outputs = self.upserts.client.get_run(run).outputs
            if after not in {m.model_id for m in (outputs.model_outputs if outputs else ())}:
                self.upserts.client.log_outputs(run, [LoggedModelOutput(after, 0)])

    def _content_digest(self) -> str:
        return Content.from_json(self.payload["snapshot"]["content"]).digest

    def _at(self) -> int:
        """When the edit was committed, in milliseconds: a fixed time makes a metric that is sent twice one."""
        edit = self.payload["edit"]
        return millis(edit.get("closed_at") or edit["created_at"])

    def _ended(self) -> int:
        """When the edit's runs end, in milliseconds: a rollback begins within the transaction that commits it."""
        return max(self._at(), millis(self.payload["edit"]["created_at"]))
