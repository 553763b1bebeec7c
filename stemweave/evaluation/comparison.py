"""Systems on the same segments: paired differences to one of them, with their intervals."""

from __future__ import annotations

from stemweave.errors import InputError
from stemweave.evaluation.table import Table


def put_differences(table: Table, baseline: str | None) -> None:
    """Add to every measure of ``table`` the differences of its rows to a row ``baseline``, if any.

    They are taken segment by segment, so that what makes a segment hard does not count; intervals
    are of their mean, whole songs resampled.

    Raises ``InputError`` if there is no such row.
    """
    if baseline is None:
        return
    if not any(baseline in rows for rows in table.samples.values()):
        known = dict.fromkeys(row for rows in table.samples.values() for row in rows)
        raise InputError(f"--baseline must be one of the rows: {'; '.join(known)}; not {baseline}")
    for measure, rows in list(table.samples.items()):
        title = f"{measure}: difference to {baseline}, paired"
        for row, columns in rows.items():
            for column, values in columns.items():
                songs = table.clusters[measure, row, column]
                before = rows.get(baseline, {}).get(column)
                if row == baseline or before is None or len(before) != len(values):
                    continue
                differences = [b - a for a, b in zip(before, values, strict=True)]
                table.put_samples(title, row, column, differences, songs)
        table.put_mean_column(title)
