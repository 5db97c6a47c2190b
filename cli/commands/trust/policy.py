"""`raie policy`: the checks that a promotion to an alias must pass, and whether a snapshot passes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.checks import show_checks
from raie.cli.ui.option_groups import with_options
from raie.cli.ui.output import Output, accent, json_option, one_line, table, times, when
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.promotion.policy import Policy
    from raie.registry.promotion.policy_versions import PolicyVersion

__all__ = ["check", "history", "set_policy", "show"]

_DAY_S = 24 * 3600.0
_alias_option = click.option(
    "--alias", metavar="ALIAS", default="production", show_default=True, help="The alias to promote it to."
)


class _NumberOrNone(click.ParamType[Any]):
    """A number, or `none` to ask for nothing; an option that is not given stays as it is."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or the text "none"."""
        return "none" if value == "none" else click.FLOAT.convert(value, param, ctx)


_NUMBER = _NumberOrNone()


class _Metric(click.ParamType[Any]):
    """`PART:METRIC>=X`, or `PART:METRIC>=none` to ask it no more."""

    name = "metric"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The metric's name and its least change."""
        name, separator, least = str(value).partition(">=")
        if not separator:
            self.fail(f"Expected PART:METRIC>=X, found {value!r}; such as retention:NDCG@10>=-0.01", param, ctx)
        number = _NUMBER.convert(least.strip(), param, ctx)
        return name.strip(), None if number == "none" else number


_OPTIONS = (
    click.option(
        "--retention",
        type=_NUMBER,
        metavar="X",
        help="Least change of Recall@10 on held-out setup windows, or none.",
    ),
    click.option(
        "--adaptation", type=_NUMBER, metavar="X", help="Least change of Recall@10 on new windows, or none."
    ),
    click.option(
        "--adaptation-known",
        type=_NUMBER,
        metavar="X",
        help="Least change of Recall@10 on new windows of known items, or none.",
    ),
    click.option(
        "--metric",
        "thresholds",
        type=_Metric(),
        metavar="PART:METRIC>=X",
        multiple=True,
        help="Least change of any metric of the evaluation, or none. May be repeated.",
    ),
    click.option("--max-age", type=_NUMBER, metavar="DAYS", help="Greatest age of the evaluation, or none."),
    click.option(
        "--locality/--no-locality", default=None, help="Untouched regions must be identical, byte for byte."
    ),
    click.option(
        "--second-person/--no-second-person",
        default=None,
        help="Somebody who made none of the changes must approve.",
    ),
    click.option(
        "--require-signed/--no-require-signed",
        default=None,
        help="A trusted key must have signed it. Loading checks this too.",
    ),
    click.option(
        "--allow-override/--no-allow-override",
        default=None,
        help="`promote --override` may override a failed check.",
    ),
    click.option("--protected/--unprotected", default=None, help="An unprotected alias has no checks."),
)


def _policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(command, _OPTIONS)


@click.command("set")
@click.argument("alias")
@_policy_options
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the audit log.")
@json_option
@in_workspace
def set_policy(workspace: Workspace, alias: str, reason: str, output: Output, **options: Any) -> None:
    """Protect an alias, or change its policy. Options that are not given stay as they are.

    Every version of the policy is kept. An evaluation counts if it is against what the alias serves at promotion.

    \b
    Examples:
      raie policy set production --retention -0.02 --adaptation 0 --locality --max-age 30
      raie policy set production --second-person --require-signed --reason "audit of May"
      raie policy set production --retention none
      raie policy set production --adaptation-known 0 --reason "new items flatter the rest"
      raie policy set staging --unprotected
    """
    from raie import promotion

    done = promotion.set_policy(workspace, alias, _changes(options), reason=reason)
    version = done.version
    output.show(
        _json(version), lambda: [f"{accent(alias, 'green')} policy {version.version}: {_words(version.policy)}"]
    )
    if done.unservable is not None:
        click.echo(f"note: what {alias} serves now cannot be loaded: {done.unservable}", err=True)


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a policy that the options name."""
    given = {name: None if value == "none" else value for name, value in options.items() if value is not None}
    if thresholds := dict(given.pop("thresholds", None) or ()):
        given["thresholds"] = thresholds
    if "allow_override" in given:
        given["override"] = given.pop("allow_override")
    if "max_age" in given:
        days = given.pop("max_age")
        given["max_age_s"] = None if days is None else days * _DAY_S
    return given


@click.command()
@click.argument("alias", required=False)
@json_option
@in_workspace
def show(workspace: Workspace, alias: str | None, output: Output) -> None:
    """Show the policies in force, of all aliases or of one.

    \b
    Examples:
      raie policy show
      raie policy show production --json
    """
    from raie import promotion

    policies = promotion.policies(workspace, alias)
    value = {"model": workspace.model, "policies": [_json(version) for version in policies]}
    output.show(value, lambda: _policy_lines(policies, alias))


def _policy_lines(policies: Sequence[PolicyVersion], alias: str | None) -> list[str]:
    if not policies:
        none = "no alias is protected" if alias is None else f"{one_line(alias)} is not protected"
        return [f"{none}; `raie policy set {one_line(alias or 'production')}` begins"]
    rows = [[accent(v.alias, "green"), v.version, _words(v.policy)] for v in policies]
    return table(["alias", "version", "asks"], rows, right=[1])


@click.command()
@click.argument("alias", required=False)
@json_option
@in_workspace
def history(workspace: Workspace, alias: str | None, output: Output) -> None:
    """List every version of an alias's policy, newest first. ALIAS is production by default.

    \b
    Examples:
      raie policy history
      raie policy history staging --json
    """
    from raie import promotion

    name = alias or "production"
    versions = promotion.policy_history(workspace, name)
    value = {"model": workspace.model, "alias": name, "versions": [_json(version) for version in versions]}
    output.show(value, lambda: _version_lines(versions))


def _version_lines(versions: Sequence[PolicyVersion]) -> list[str]:
    rows = [[v.version, when(v.at), one_line(v.actor), _words(v.policy), one_line(v.reason)] for v in versions]
    return table(["version", "when (UTC)", "who", "asks", "why"], rows, right=[0])


@click.command()
@click.argument("ref")
@_alias_option
@json_option
@in_workspace
def check(workspace: Workspace, ref: str, alias: str, output: Output) -> None:
    """Show every check of a promotion, passed or not. The exit code is 1 if one fails.

    \b
    Examples:
      raie policy check head
      raie policy check edit:3 --alias staging --json
    """
    from raie import promotion

    show_checks(promotion.check(workspace, ref, alias=alias), alias, output)


def _words(policy: Policy) -> str:
    """What a policy asks, in one line."""
    if not policy.protected:
        return "nothing (unprotected)"
    asked = [
        policy.retention is not None and f"retention {policy.retention:+g} or more",
        policy.adaptation is not None and f"adaptation {policy.adaptation:+g} or more",
        policy.adaptation_known is not None and f"adaptation on known items {policy.adaptation_known:+g} or more",
        *(f"{threshold.name} {threshold.least:+g} or more" for threshold in policy.thresholds),
        policy.locality and "locality",
        policy.max_age_s is not None and f"evaluated within {policy.max_age_s / _DAY_S:g} days",
        policy.second_person and "a second person",
        policy.require_signed and "a trusted signature",
        policy.override and "may be overridden",
    ]
    return ", ".join(words for words in asked if words) or "moved only by who may approve"


def _json(version: PolicyVersion) -> dict[str, Any]:
    return {
        "alias": version.alias,
        "version": version.version,
        **asdict(version.policy),
        "thresholds": {threshold.name: threshold.least for threshold in version.policy.thresholds},
        "actor": version.actor,
        "reason": version.reason,
        **times(at=version.at),
    }
