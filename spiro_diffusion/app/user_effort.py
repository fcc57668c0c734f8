"""User curves within the page: the uploaded file, the data that the browser stores, the selected effort."""

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.user_curves import UserCurves, read

MOST_BYTES = 4 * 2**20  # eight efforts of 15 s at 1 kHz
MOST_EFFORTS = 20  # a session has eight
MOST_NAME_LENGTH = 60  # characters of a file's or a curve's name


@dataclass(frozen=True, eq=False)
class Effort:
    """One effort of a file, with the other efforts of its session."""

    session: UserCurves
    number: int

    @property
    def flow(self) -> NDArray[np.float64]:
        """(T,) L/s every 10 ms."""
        return self.session.curves()[self.number]


def read_upload(contents: str, file: str, btps: float | None = None) -> UserCurves:
    """The curves of an uploaded file; `contents` is a data address with base64, as a browser sends it.

    `btps` is the factor to BTPS for a file that does not state it.

    Raises SpiroError as `user_curves.read` does, and if the file is too large or has too many curves.
    """
    file = file[:MOST_NAME_LENGTH]
    try:
        content = base64.b64decode(contents.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        raise SpiroError(f"{file}: did not arrive completely; choose it again") from None
    if len(content) > MOST_BYTES:
        raise SpiroError(too_large(file))
    curves = read(io.BytesIO(content), file, btps=btps)
    if len(curves.names) > MOST_EFFORTS:
        raise SpiroError(
            f"{file}: holds {len(curves.names)} curves; this page reads {MOST_EFFORTS}, `spiro indices` any number"
        )
    return curves


def too_large(file: str) -> str:
    """The message for a file beyond MOST_BYTES; the page's script has the same message."""
    return f"{file}: is larger than {MOST_BYTES // 2**20} MB; cut it to the efforts of one session"


def best(curves: UserCurves) -> int:
    """The effort with the largest sum of FEV1 and FVC, which ATS/ERS 2019 shows first."""
    return int((curves.record["fev1"] + curves.record["fvc"]).fillna(-np.inf).to_numpy().argmax())


def to_store(curves: UserCurves) -> list[dict[str, Any]]:
    """The data that the browser stores of each effort: name, flow to 0.01 mL/s, values of its record (None for NaN)."""
    records = curves.record.astype(object).where(curves.record.notna(), None).to_dict(orient="records")
    return [
        {"name": name[:MOST_NAME_LENGTH], "flow": flow.round(5).tolist(), "record": record}
        for name, flow, record in zip(curves.names, curves.curves(), records, strict=True)
    ]


def effort(stored: list[dict[str, Any]] | None, number: int | None) -> Effort | None:
    """The selected effort of the data that the browser stores, if there is one."""
    if not stored or number is None:
        return None
    points = np.array([len(one["flow"]) for one in stored])
    flow = np.zeros((len(stored), points.max()))
    for row, one in zip(flow, stored, strict=True):
        row[: len(one["flow"])] = one["flow"]
    record = pd.DataFrame([one["record"] for one in stored]).replace({None: np.nan}).infer_objects()
    session = UserCurves([str(one["name"]) for one in stored], flow, points, record)
    return Effort(session, min(int(number), len(stored) - 1))
