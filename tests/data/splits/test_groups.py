"""Patients that a table beside the images tells of."""

import pytest
from image_folders import write_flat

from src.common.errors import InputError
from src.data.catalog import read_catalog
from src.data.splits.groups import PATIENT_TABLE, patients_from_file

pytestmark = pytest.mark.usefixtures("cache")


def test_a_table_beside_the_images_names_patients(tmp_path):
    catalog = read_catalog(write_flat(tmp_path / "data"))
    assert patients_from_file(catalog) == {}
    first, second = catalog.paths[:2]
    (catalog.root / PATIENT_TABLE).write_text(f"path,patient\n{first},ann\n{second},\n")
    assert patients_from_file(catalog) == {first: "ann"}


@pytest.mark.parametrize("content", ["path,name\na,b\n", b"\xff\xfe\x00"])
def test_a_damaged_table_is_named(tmp_path, content):
    catalog = read_catalog(write_flat(tmp_path / "data"))
    table = catalog.root / PATIENT_TABLE
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"{PATIENT_TABLE} is damaged"):
        patients_from_file(catalog)
