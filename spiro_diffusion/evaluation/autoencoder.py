"""Round-trip error of the clinical indices: held-out curves through the autoencoder and back."""

import numpy as np

from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Node, Tree, figure, from_resamples, missing, too_few
from spiro_diffusion.evaluation.measured import Measured

ABSOLUTE = ("fev1", "fvc")  # mL
RELATIVE = ("pef", "fef2575")  # % of the real value


def errors(real: Measured, again: Measured, groups: Resamples) -> Node:
    """Errors of the indices of the same curves after a round trip, both after the counter.

    Returns:
        fev1_ml, fvc_ml, pef_percent, fef2575_percent: median absolute error; *_p95: its 95th percentile;
        *_bias_*: mean error; flow_rmse: L/s, root mean square over the 20.48 s window.
    """
    if len(groups.people) < MIN_PEOPLE:
        return too_few(len(groups.people))
    result: Tree = {}
    for name in (*ABSOLUTE, *RELATIVE):
        unit = "ml" if name in ABSOLUTE else "percent"
        with np.errstate(invalid="ignore", divide="ignore"):
            error = again.indices[name] - real.indices[name]
            error = error * 1000 if unit == "ml" else 100 * error / real.indices[name]
        rows = np.isfinite(error)
        if not rows.any():
            result |= {k: missing("determined on no curve") for k in (f"{name}_{unit}", f"{name}_bias_{unit}")}
            continue
        resamples = groups.restricted(rows)
        result[f"{name}_{unit}"] = from_resamples(resamples.medians(np.abs(error[rows])))
        result[f"{name}_{unit}_p95"] = figure(float(np.quantile(np.abs(error[rows]), 0.95)))
        result[f"{name}_bias_{unit}"] = from_resamples(resamples.means(error[rows]))
    squares = ((again.flow() - real.flow()) ** 2).mean(axis=1, dtype=np.float64)
    result["flow_rmse"] = from_resamples(np.sqrt(groups.means(squares)))
    return result
