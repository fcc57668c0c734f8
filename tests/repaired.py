"""Repaired tables of simulated people, as the stage repair leaves them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def write(folder: Path, tables: dict[str, pd.DataFrame], cycle: str) -> Path:
    """Write DEMO, BMX, SPX and SPXRAW of one cycle as Parquet into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = folder / f"{name}_{cycle}.parquet"
        if name != "SPXRAW":
            table.to_parquet(path, index=False)
            continue
        arrow = pa.Table.from_pandas(table.drop(columns="SPXRAW"), preserve_index=False)
        lists = pa.array([np.asarray(curve) for curve in table["SPXRAW"]], type=pa.list_(pa.int16()))
        pq.write_table(arrow.append_column("SPXRAW", lists), path, row_group_size=100)
    return folder
