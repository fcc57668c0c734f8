# %% [markdown]
# # Read a session
#
# How does a clinician read the blows of one person before and after a bronchodilator: which of them count, the best
# values and the expected ones, the pattern, the response? Run it from the folder that holds `data/`, after
# `make repro`; editors that know `# %%` cells open it as a notebook. The patient is a participant of the pipeline's
# data, who by default is simulated. For research; **not for diagnosis**.
#
# ## The blows of a patient
#
# A session is a file in any of the formats that `spiro indices` reads. Here it is a CSV with a column `curve`, whose
# words `pre` and `post` say which blows were after the bronchodilator.

# %%
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spiro_diffusion.api import Person, Previous, Visit, interpret, load_curves, read_session

data = load_curves()
some = data.table[data.table["age"].between(8, 77)]
best = some.groupby(["seqn", "test_type"])["fev1"].max().unstack().reindex(columns=["Pre", "Bron"])
rise = best["Bron"] / best["Pre"]  # of the largest FEV1, where there are blows after the bronchodilator
seqn = int(rise.idxmax() if rise.notna().any() else best.index[0])
rows_of_person = data.table[data.table["seqn"] == seqn]
first = rows_of_person.iloc[0]
patient = Person(float(first["age"]), float(first["height"]), ("male", "female")[int(first["sex"]) - 1])

parts = []
for batch in data.flow():
    whose, kinds = (data.table[name].iloc[batch.rows].to_numpy() for name in ("seqn", "test_type"))
    for i in np.flatnonzero(whose == seqn):
        flow = batch.flow[i, : batch.points[i]]
        name = f"{'post' if kinds[i] == 'Bron' else 'pre'} {len(parts) + 1}"
        parts.append(pd.DataFrame({"curve": name, "time_s": 0.01 * np.arange(len(flow)), "flow_l_s": flow}))
pd.concat(parts).round(4).to_csv("visit.csv", index=False)
print(f"{len(parts)} blows; {patient.sex}, {patient.age:g} years, {patient.height:g} cm")

# %% [markdown]
# ## Which blows count
#
# `read_session` judges each blow by table 7 of ATS/ERS 2019 and says what is wrong with it.

# %%
session = read_session("visit.csv", patient)
for blow in session.blows:
    counts = " and ".join(name for name, there in (("FEV1", blow.counts_fev1), ("FVC", blow.counts_fvc)) if there)
    print(f"{blow.name}: counts for {counts or 'nothing'}", *blow.faults, sep="; ")
for phase, grades in session.grades.items():
    print(f"{phase}: grade {grades.fev1} for FEV1, {grades.fvc} for FVC")

# %% [markdown]
# ## Best and expected values
#
# `interpret` takes the largest FEV1 and FVC, possibly of two different blows, and compares them with GLI Global, and
# FEF25-75 with GLI 2012. PEF's equations (Hankinson 1999) need a `group`, which is not given here, so its cells are
# blank.

# %%
read = interpret(session)
rows = {
    (name, phase): {"value": best.value, "blow": best.blow, "LLN": values.lln, "z": best.z, "% predicted": best.percent}
    for name, values in read.values.items()
    for phase, best in values.best.items()
}
print(pd.DataFrame(rows).T.astype(float).round(2).to_string(na_rep="-"))

# %% [markdown]
# ## What it means
#
# Each phase has a `finding`: pattern and severity, or the reason why none is named if the blows do not allow it.
# Sentences come in English, Chinese (`zh`) and German (`de`).

# %%
for phase, finding in read.findings.items():
    print(phase, finding.pattern, finding.severity)
print(*read.sentences(), sep="\n")

# %%
figure = Figure(figsize=(9.6, 3.8), layout="constrained")
loop, spirogram = figure.subplots(1, 2)
for blow in session.blows:
    style = {"color": "tab:blue" if blow.phase == "pre" else "tab:red", "alpha": 1.0 if blow.counts else 0.3, "lw": 1}
    volume = np.cumsum(blow.flow) * 0.01
    loop.plot(volume, np.convolve(blow.flow, np.full(5, 0.2), "same"), **style)  # means of 50 ms
    spirogram.plot((1 + np.arange(len(volume))) * 0.01 - blow.t0, volume, **style)
loop.set(xlabel="volume (L)", ylabel="flow (L/s)")
spirogram.set(xlabel="time (s)", ylabel="volume (L)", xlim=(-0.3, 6))
figure.savefig("session.png", dpi=90)

# %% [markdown]
# ![Blows before (blue) and after (red) the bronchodilator; faint ones do not count](session.png)
#
# ## Since an earlier visit
#
# For adults this is FEV1Q at both visits; for children it is the conditional change score, for which their height at
# the earlier visit has to be given.

# %%
fev1 = read.values["fev1"].best["pre"].value
visit = Visit(previous=Previous(fev1=round(1.15 * fev1, 2), age=patient.age - 1.5, height=patient.height))
print(interpret(read_session("visit.csv", patient, visit)).sentences()[-1])
