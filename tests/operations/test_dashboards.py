"""The dashboard and the alert rules ask for what /metrics serves."""

import json
import re

import pytest
import yaml
from django.utils import timezone

from voxbilling import counts
from voxbilling.environment import PROJECT_DIR
from voxbilling.operations import metrics
from wallets.checking import LedgerCheck

pytestmark = pytest.mark.django_db

FOLDER = PROJECT_DIR / "docs/operations"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]] + [
    rule["expr"] for rule in RULES
]
FUNCTIONS = {
    *("sum", "rate", "delta", "min_over_time", "histogram_quantile", "absent"),
    *("by", "or", "up", "job", "le"),
}


def served() -> set[str]:
    """Every name of a sample that /metrics can serve."""
    families = [
        *metrics._of_wallets(),
        *metrics._of_calls(),
        *metrics._of_the_inbox(),
        *metrics._of_sweeps(metrics.heartbeat.Heartbeat(None, {}, {})),
        *metrics._of_the_ledger(LedgerCheck(at=timezone.now(), differences=0)),
    ]
    names = {family.name for family in families} | {"voxbilling_counts_available"}
    for each in counts.ALL:
        ends = ["_total"] if isinstance(each, counts.Occurrences) else ["_bucket", "_count", "_sum"]
        names |= {f"voxbilling_{each.name}{end}" for end in ends}
    return names


def labels() -> set[str]:
    known = {label for each in counts.ALL for label in each.labels}
    return known | {"quantile", "status", "task", "le", "job"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_that_is_asked_for_is_served(expression):
    asked = set(re.findall(r"voxbilling_\w+", expression))

    assert asked <= served()
    assert asked or 'up{job="voxbilling"}' in expression
    for matched in re.findall(r"\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)=~?\"", matched)) <= labels()
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= labels()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_is_well_formed(expression):
    bare = re.sub(r'"[^"]*"', '""', expression)
    for opening, closing in ("()", "[]", "{}"):
        assert bare.count(opening) == bare.count(closing)
    words = set(re.findall(r"[a-z_]{2,}", re.sub(r"\{[^}]*\}|\[[^]]*\]|voxbilling_\w+", "", bare)))
    assert words <= FUNCTIONS | labels()
    assert all(re.fullmatch(r"\d+[smh]", span) for span in re.findall(r"\[([^]]*)\]", bare))


def test_every_figure_is_on_the_dashboard_or_in_a_rule():
    everywhere = " ".join(EXPRESSIONS)
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in served()}

    assert {name for name in names if name not in everywhere} == set()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_unit_a_place_and_the_chosen_datasource(panel):
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_the_dashboard_can_be_imported():
    assert DASHBOARD["schemaVersion"] >= 36
    assert [each["type"] for each in DASHBOARD["templating"]["list"]] == ["datasource"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule):
    assert rule["labels"]["severity"] in {"page", "ticket"}
    # What is, and then what to do.
    assert len(re.findall(r"[.!:](?: |$)", rule["annotations"]["summary"])) >= 2
