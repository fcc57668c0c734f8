"""The facts of an effort: its reported indices as logarithms, and shape shares as logits."""

import numpy as np
import pandas as pd

INDICES = ("fev1", "fvc", "pef", "fef2575", "bev", "t_pef", "fet")  # columns of curves.parquet: L, L/s, s
SHAPES = ("early", "late")  # FEV0.5 over FEV1; the share of FVC - FEV1 that is out at 3 s
NAMES = (*INDICES, *SHAPES)
COLUMNS = (*INDICES, "fev05", "fev3")  # of which the facts are made
EDGE = 0.003  # shares lie within this of 0 and 1
BITS = ((-1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (1.0, -1.0))  # of the grades A to D: neighbours differ in one
CHANNELS = len(NAMES) + 2
PLACE = (4.5, 2.3)  # centre and spread of an effort's place, from 1
REACHED = 3  # of NAMES, those of which a session reaches its largest (FEV1, FVC, PEF); of the others it has a mean


def read(curves: pd.DataFrame) -> np.ndarray:
    """Facts of curves (n, 9), from their COLUMNS; NaN in a row where one is not determined or not positive."""
    values = curves[list(INDICES)].to_numpy(float)
    defined = (values > 0).all(axis=1, keepdims=True)
    fev1, fvc = values[:, 0], values[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        early = curves["fev05"].to_numpy(float) / fev1
        late = (curves["fev3"].to_numpy(float) - fev1) / (fvc - fev1)
    shares = np.clip(np.nan_to_num(np.column_stack([early, late]), nan=1.0), EDGE, 1 - EDGE)
    logs = np.column_stack([np.log(np.where(defined, values, np.nan)), np.log(shares / (1 - shares))])
    return np.where(defined, logs, np.nan)
