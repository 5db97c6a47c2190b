"""The page on monitoring names metrics that a server exports, and exit codes that its commands have."""

from __future__ import annotations

import re
from typing import NoReturn

import click

from raie.serving.follower import Follower
from raie.serving.metrics import Metrics
from raie.serving.sources import AliasSource
from tests.docs.command_lines import TREE
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "howto" / "monitoring.md").read_text(encoding="utf-8")
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
METRIC = re.compile(r"\braie_[a-z_]+\b")


def exported() -> dict[str, str]:
    """Metric -> its type, as a server says that has not loaded anything yet."""

    def away() -> NoReturn:
        raise AssertionError("no metric asks the registry")

    follower = Follower(AliasSource(away, "recsys", "production"))
    text = Metrics(follower, lambda: 0).text().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    return {name: kind for name, kind in kinds.items() if not name.endswith("_created")}


def test_the_list_of_metrics_is_what_a_server_exports() -> None:
    section = SERVING.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    assert set(METRIC.findall(section)) == set(exported())


def test_every_rule_is_of_a_metric_of_the_type_that_it_takes() -> None:
    kinds = exported()
    assert [name for name in METRIC.findall(PAGE) if name not in kinds] == []
    rules = re.findall(r"^\| ([^|]+) \| ([^|]*`raie_[^|]+) \|$", PAGE, re.MULTILINE)
    assert len(rules) == 5
    for what, rule in rules:
        types = {kinds[name] for name in METRIC.findall(rule)}
        wanted = "histogram" if "percentile" in rule else "counter" if re.search("rate| over ", rule) else "gauge"
        assert types == {wanted}, what


def test_every_exit_code_of_the_page_is_in_the_help_of_its_command() -> None:
    rows = re.findall(r"^\| each [^|]+ \| `raie ([a-z ]+)[^`]*` \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    codes = [(name.strip(), int(when[0])) for name, when in rows if when[0].isdigit()]
    assert codes, "some commands have a code of their own"
    for name, code in (*codes, ("status", 7)):
        command = TREE[f"raie {name}"]
        shown = " ".join(command.get_help(click.Context(command)).split())
        assert re.search(rf"exit code( is|:)? {code}\b", shown, re.IGNORECASE), f"{name}: {code}"
