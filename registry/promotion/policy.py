"""What a protected alias asks of a snapshot, and whether it has it. Pure functions over values.

A policy names checks. The facts are what the registry knows of one snapshot that should go to one alias. `checks` says of
each check whether it is passed, what it expected, what it found and what to do; `violations` are the lines of those
that are not. More asked never passes what less asked refused, and better facts never fail what worse ones passed.

Evaluations compare the snapshot with what the alias serves at that moment, not with the snapshot's parent: ten edits
that each lose a little would otherwise pass one by one. Where the alias serves nothing yet, or the same content, there
is nothing to compare.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from raie.registry.errors import InvalidValue
from raie.registry.people import look_alike, person_of
from raie.registry.promotion.impact_report import ImpactReport

__all__ = ["Check", "Evaluation", "Facts", "Policy", "Threshold", "checks", "violations"]

FORMAT = 1
SIGNATURE = "signature"
SHADOW = "shadow"
"""The part of a report that a server measures, whose newest evaluation counts beside the newest of all other parts."""
CLOCK_SKEW_S = 3600.0
"""How far ahead of ours the clock of an evaluation may be; one from later than that is refused."""

_DAY_S = 24 * 3600.0
_LATER = frozenset({"adaptation_known", "thresholds"})  # came after format 1, whose policies do without
_METRIC = "Recall@10"
_PARTS = {
    "retention": ("retention", "held-out setup windows"),
    "adaptation": ("adaptation", "new windows"),
    "adaptation_known": ("adaptation, known items", "new windows of known items"),
}
"""Part of a report -> how a check names it, and its windows."""
_THRESHOLD = re.compile(r"([\w-]{1,100}):([\w@ .-]{1,100})")


@dataclass(frozen=True, order=True)
class Threshold:
    """The least change of one metric on one part of the impact report, such as NDCG@10 on retention.

    Raises InvalidValue for names that no report can have, and for a change that is no number.
    """

    part: str
    metric: str
    least: float

    def __post_init__(self) -> None:
        if self.metric == _METRIC and self.part in _PARTS:
            raise InvalidValue(
                f"Expected a metric that a policy has no field for, found {self.name}; set {self.part}"
            )
        if not _THRESHOLD.fullmatch(self.name):
            raise InvalidValue(f"Expected a metric of a policy as PART:METRIC, found {self.name!a:.100}")
        _check_number(self.least, f"the least change of {self.name}", -math.inf, math.inf)
        if self.least is None:
            raise InvalidValue(f"Expected the least change of {self.name}, found none")

    @property
    def name(self) -> str:
        """`PART:METRIC`, as the policy's JSON names it."""
        return f"{self.part}:{self.metric}"

    @staticmethod
    def of(name: Any, least: Any) -> Threshold:
        """The threshold of a name `PART:METRIC`; raises InvalidValue."""
        part, _, metric = str(name).partition(":")
        return Threshold(part, metric, least)


@dataclass(frozen=True)
class Policy:
    """The checks of one alias; what is None or false is not asked.

    protected: false lifts the policy, and keeps it on record.  retention, adaptation: the least change of Recall@10,
    from what is served, on held-out setup windows and on new ones.  adaptation_known: on those of the new windows whose
    target is an item that what is served knows too; one that it cannot recommend flatters any other snapshot.
    locality: regions that the evaluation calls untouched are so, byte for byte.  max_age_s: of the evaluation, seconds.
    second_person: somebody approved it who made none of it.  require_signed: signed by a trusted key, at promotion and
    at every load.  override: whether a check may be passed over, with a reason; never the signature.  thresholds: the
    least change of any other metric of the report, sorted, one for each part and metric.
    Raises InvalidValue for numbers that no change and no age can be.
    """

    protected: bool = True
    retention: float | None = None
    adaptation: float | None = None
    adaptation_known: float | None = None
    locality: bool = False
    max_age_s: float | None = None
    second_person: bool = False
    require_signed: bool = False
    override: bool = False
    thresholds: tuple[Threshold, ...] = ()

    def __post_init__(self) -> None:
        for name in ("retention", "adaptation", "adaptation_known"):
            _check_number(getattr(self, name), name, -1.0, 1.0)
        _check_number(self.max_age_s, "max_age_s", 1.0, math.inf)
        for name in ("protected", "locality", "second_person", "require_signed", "override"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidValue(f"Expected true or false as {name} of a policy, found {getattr(self, name)!r}")
        if sorted(self.thresholds) != list(self.thresholds):
            raise InvalidValue("Expected the thresholds of a policy sorted, found them in another order")
        if len({threshold.name for threshold in self.thresholds}) < len(self.thresholds):
            raise InvalidValue("Expected one threshold for each metric of a policy, found several of one")

    @property
    def asks_a_shadow(self) -> bool:
        """Whether a threshold is on what a server measures."""
        return any(threshold.part == SHADOW for threshold in self.thresholds)

    @property
    def asks_a_log(self) -> bool:
        """Whether a check is on what is measured on a log."""
        numbers = (getattr(self, name) is not None for name in _PARTS)
        return self.locality or any(numbers) or any(threshold.part != SHADOW for threshold in self.thresholds)

    def amended(self, changes: Mapping[str, Any]) -> Policy:
        """The policy with these fields changed.

        Args:
            changes: field -> value; under "thresholds" `PART:METRIC` -> the least change, None to ask no more.

        Returns:
            The policy; what is not named is as it was.

        Raises:
            InvalidValue: for a field or a value that a policy cannot have.
        """
        named = changes.get("thresholds", {})
        if not changes.keys() <= {known.name for known in fields(Policy)} or not isinstance(named, Mapping):
            raise InvalidValue(f"Expected fields of a policy, found {sorted(changes)}")
        recall = {field: value for name, value in named.items() if (field := _field_of(name)) is not None}
        least = {threshold.name: threshold.least for threshold in self.thresholds} | dict(named)
        others = {name: value for name, value in least.items() if value is not None and _field_of(name) is None}
        thresholds = sorted(Threshold.of(name, value) for name, value in others.items())
        return replace(self, **{**changes, **recall, "thresholds": tuple(thresholds)})

    def to_json(self) -> dict[str, Any]:
        """The JSON object; without what an older raie could not read, where it is not asked for."""
        values = {field.name: getattr(self, field.name) for field in fields(Policy)}
        values["thresholds"] = {threshold.name: threshold.least for threshold in self.thresholds} or None
        asked = {name: value for name, value in values.items() if name not in _LATER or value is not None}
        return {"format": FORMAT, **asked}

    @staticmethod
    def from_json(value: Any) -> Policy:
        """The policy of a JSON object.

        Raises InvalidValue for any other, one with a check of a newer raie among them: it must not be passed over.
        """
        known = {field.name for field in fields(Policy)}
        names = set(value) - {"format"} if isinstance(value, Mapping) else set()
        if not isinstance(value, Mapping) or value.get("format") != FORMAT or not known - _LATER <= names <= known:
            raise InvalidValue("Expected a policy as this raie writes it, found another; upgrade raie")
        return Policy().amended({name: value[name] for name in names})


@dataclass(frozen=True)
class Evaluation:
    """A snapshot measured against what an alias serves.

    source: where it is kept ("edit 3", "evaluation 7").  age_s: seconds.  report: what was measured.  disturbed: what
    should be untouched and is not; None where the report does not say what it left untouched.
    """

    source: str
    age_s: float
    report: ImpactReport
    disturbed: tuple[str, ...] | None


@dataclass(frozen=True)
class Facts:
    """What is known of a snapshot that should go to an alias.

    replaces: whether the alias serves another content now.  evaluation: the newest one against what it serves, of a log.
    shadow: the newest one that a server measured.
    authors: who made the snapshot or a region in which it differs.  approvers: who approved it for this alias.
    signers: names of trusted keys with a valid signature of it.
    """

    snapshot: str
    alias: str
    replaces: bool
    evaluation: Evaluation | None = None
    authors: frozenset[str] = frozenset()
    approvers: frozenset[str] = frozenset()
    signers: frozenset[str] = frozenset()
    shadow: Evaluation | None = None


@dataclass(frozen=True)
class Check:
    """One check: what it expected and found, and what to do where it is not passed."""

    name: str
    passed: bool
    expected: str
    actual: str
    advice: str

    def to_json(self) -> dict[str, Any]:
        """The JSON object."""
        return {"found" if name == "actual" else name: value for name, value in vars(self).items()}

    @property
    def summary(self) -> str:
        """What it expected and found, in one line."""
        return f"{self.name}: expected {self.expected}, found {self.actual}"

    @property
    def line(self) -> str:
        """The same, and what to do where it is not passed."""
        return self.summary if self.passed else f"{self.summary}; {self.advice}"


def _field_of(name: str) -> str | None:
    """The field of a policy that asks this metric: Recall@10 of the three parts has one of its own."""
    part, _, metric = str(name).partition(":")
    return part if part in _PARTS and metric == _METRIC else None


def violations(policy: Policy, facts: Facts) -> tuple[str, ...]:
    """One line for each check that the snapshot does not pass; empty where it may be promoted."""
    return tuple(check.line for check in checks(policy, facts) if not check.passed)


def checks(policy: Policy, facts: Facts) -> tuple[Check, ...]:
    """Every check that the policy asks for; none where it protects nothing."""
    if not policy.protected:
        return ()
    recall = {name: getattr(policy, name) for name in _PARTS}
    asked = (
        *(_change(part, _METRIC, least, facts) for part, least in recall.items() if least is not None),
        *(_change(threshold.part, threshold.metric, threshold.least, facts) for threshold in policy.thresholds),
        _locality(policy, facts),
        _age(policy, facts),
        _second_person(policy, facts),
        _signature(policy, facts),
    )
    return tuple(check for check in asked if check is not None)


def _change(part: str, metric: str, least: float, facts: Facts) -> Check:
    name, windows = _PARTS.get(part, (part, f"the windows of {part}"))
    name = name if metric == _METRIC else f"{name}, {metric}"
    expected = f"{metric} to change by {least:+g} or more on {windows}"
    if part == SHADOW:
        return _of_the_shadow(name, metric, least, facts)
    if facts.evaluation is None:
        return _compared(name, False, expected, "", facts)
    report = facts.evaluation.report
    change = report.change(part, metric)
    if change is not None:
        return _compared(name, change.mean >= least, expected, f"{change.mean:+.4g}", facts)
    others = ", ".join(sorted(report.parts[part].changes)) if part in report.parts else ""
    return _compared(name, False, expected, f"only {others}" if others else "no such window", facts)


def _of_the_shadow(name: str, metric: str, least: float, facts: Facts) -> Check:
    """A check of what a server measured of the snapshot beside what is served."""
    expected = f"{metric} of {least:g} or more"
    advice = f"`raie promote {facts.snapshot[:12]} --to candidate` and `raie serve --shadow candidate` measure it"
    if not facts.replaces:
        return Check(name, True, expected, f"nothing else that {facts.alias} serves", advice)
    change = None if facts.shadow is None else facts.shadow.report.change(SHADOW, metric)
    if facts.shadow is None or change is None:
        return Check(name, False, expected, f"no such comparison with what {facts.alias} serves", advice)
    actual = f"{change.mean:.4g} ({facts.shadow.source})"
    return Check(name, change.mean >= least, expected, actual, advice)


def _locality(policy: Policy, facts: Facts) -> Check | None:
    if not policy.locality:
        return None
    disturbed = None if facts.evaluation is None else facts.evaluation.disturbed
    expected = "every untouched region as it is served, byte for byte"
    if disturbed is None:
        actual = "no word of what was left untouched"
    else:
        actual = f"another {', '.join(disturbed)}" if disturbed else "all of them"
    return _compared("locality", disturbed == (), expected, actual, facts)


def _age(policy: Policy, facts: Facts) -> Check | None:
    if policy.max_age_s is None:
        return None
    asked = [facts.evaluation] if policy.asks_a_log else []
    asked += [facts.shadow] if policy.asks_a_shadow else []
    ages = [math.inf if evaluation is None else evaluation.age_s for evaluation in asked or [facts.evaluation]]
    age_s = min(ages) if min(ages) < -CLOCK_SKEW_S else max(ages)
    expected = f"an evaluation of the last {policy.max_age_s / _DAY_S:g} days"
    actual = "one from the future; look at the clocks" if age_s < 0 else f"one {age_s / _DAY_S:.1f} days old"
    return _compared("age", -CLOCK_SKEW_S <= age_s <= policy.max_age_s, expected, actual, facts)


def _compared(name: str, passed: bool, expected: str, actual: str, facts: Facts) -> Check:
    """A check that compares with what is served."""
    advice = f"`raie evaluate LOG --ref {facts.snapshot[:12]} --against {facts.alias} --record` measures it"
    if not facts.replaces:
        return Check(name, True, expected, f"nothing else that {facts.alias} serves", advice)
    if facts.evaluation is None:
        return Check(name, False, expected, f"no evaluation against what {facts.alias} serves", advice)
    return Check(name, passed, expected, f"{actual} ({facts.evaluation.source})", advice)


def _second_person(policy: Policy, facts: Facts) -> Check | None:
    if not policy.second_person:
        return None
    made = {person_of(author) for author in facts.authors}
    others = {name for name in facts.approvers if person_of(name) not in made}
    actual = "approval by " + ", ".join(sorted(others or facts.approvers)) if facts.approvers else "no approval"
    alike = sorted(f"{a!a} looks like author {b!a}" for a in others for b in facts.authors if look_alike(a, b))
    actual += f" ({'; '.join(alike)})" if alike else ""
    return Check(
        "second person",
        bool(others),
        f"approval by somebody other than {' and '.join(sorted(facts.authors)) or 'its author'}",
        actual,
        f"somebody else runs `raie approve {facts.snapshot[:12]} --alias {facts.alias}`",
    )


def _signature(policy: Policy, facts: Facts) -> Check | None:
    if not policy.require_signed:
        return None
    return Check(
        SIGNATURE,
        bool(facts.signers),
        "a valid signature by a trusted key",
        "one by " + ", ".join(sorted(facts.signers)) if facts.signers else "none",
        f"`raie sign {facts.snapshot[:12]} --key FILE`, with a key that `raie keys list` shows as trusted",
    )


def _check_number(value: Any, name: str, least: float, most: float) -> None:
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not least <= value <= most:
        limits = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of {least:g} or more"
        raise InvalidValue(f"Expected {name} of a policy as a number {limits}, found {value!r}")
