"""The long campaigns (`pytest -m full`) are run by hand; `full.json` says how each last ended."""

from conftest import CAMPAIGNS, RECORDED

from src.common.files import read_json


def test_every_campaign_is_recorded_and_passed(pytestconfig):
    recorded = read_json(RECORDED)
    here = pytestconfig.stash[CAMPAIGNS]  # of the files that were collected with this one
    files = {name.partition("::")[0] for name in here}
    known = {name for name in recorded if name.partition("::")[0] in files}
    assert known == {name for name in here if "test_fuzz.py" not in name}  # fuzz.json has those
    assert {name for name, each in recorded.items() if each["outcome"] != "passed"} == set()
