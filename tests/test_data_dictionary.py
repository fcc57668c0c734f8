"""docs/data.md says of every column what the schema checks."""

from pathlib import Path

import pytest

from spiro_diffusion.dataset import schema

PAGE = Path(__file__).parents[1] / "docs" / "data.md"


def documented() -> dict[str, list[str]]:
    """Cells of the rows of the column tables, by column name."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "|" in line]
    return {cells[0]: cells[1:] for cells in rows if len(cells) == 7 and cells[0] not in ("column", "---")}


def test_every_column_is_documented_and_none_is_invented() -> None:
    assert set(documented()) == set(schema.CURVES)


@pytest.mark.parametrize("name", schema.CURVES)
def test_type_unit_range_and_missing_rule_are_those_of_the_schema(name: str) -> None:
    kind, unit, allowed, missing, source, _ = documented()[name]
    column = schema.ALIGNED[name] if name in schema.ALIGNED else schema.CURVES[name]
    assert (kind, unit) == (column.kind, column.unit)
    assert missing == ("may be" if column.missing else "never")
    assert source
    if column.values:
        assert allowed == ", ".join(column.values)
    elif column.high is not None:
        assert allowed == f"{column.low:g} to {column.high:g}"


def test_the_example_of_the_spirometry_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (PAGE.parent / "spirometry.md").read_text()
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out.splitlines()[1] == "acceptable: True"
