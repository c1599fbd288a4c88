"""CLAIM.md: every item once, with a verdict, and links that lead somewhere."""

import re

from src.results.grid import RESULTS

PAGE = (RESULTS / "CLAIM.md").read_text()
VERDICTS = {"met", "partly", "not met", "not applicable"}


def test_every_item_has_a_verdict_and_a_reason():
    rows = [row.split(" | ") for row in re.findall(r"^\| (\d.*) \|$", PAGE, re.M)]
    assert [int(row[0]) for row in rows] == list(range(1, 45))
    assert {row[2] for row in rows} <= VERDICTS and all(len(row) == 4 and row[3] for row in rows)
    assert all("](" in row[3] for row in rows if row[2] == "met" and row[0] != "42")


def test_its_links_lead_somewhere():
    targets = set(re.findall(r"\]\(([^)]+)\)", PAGE))
    assert len(targets) > 15
    for target in targets:
        assert (RESULTS / target).exists(), target
