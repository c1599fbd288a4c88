"""The long campaigns (`pytest -m full`) are run by hand; `full.json` says how each last ended."""

from conftest import CAMPAIGNS, RECORDED

from src.common.files import read_json


def test_every_recorded_campaign_passed_and_is_there(pytestconfig):
    recorded = read_json(RECORDED)
    assert {name for name, each in recorded.items() if each["outcome"] != "passed"} == set()
    here = pytestconfig.stash[CAMPAIGNS]  # of the files that were collected with this one
    files = {name.partition("::")[0] for name in here}
    assert not [name for name in recorded if name.partition("::")[0] in files and name not in here]
