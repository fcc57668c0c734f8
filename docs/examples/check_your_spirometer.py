# %% [markdown]
# # Check your own spirometer's curves
#
# What must a file contain, what is computed from it, and how do your curves compare with those of people of the same
# age, height and sex? Run it from the folder that holds `models/` and `data/`, after `make repro`. For research; **not
# for diagnosis**.
#
# ## A file
#
# Your file is a CSV with `time_s` (s, one sample every 10 ms) and `flow_l_s` (L/s) or `volume_l` (L) at BTPS,
# expiration positive, and `curve` where it holds several. Here the efforts of one held-out participant of the
# pipeline's data, by default simulated, take its place.

# %%
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spiro_diffusion.api import SpiroGenerator, load_curves
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.user_curves import read
from spiro_diffusion.user_curves.tables import Person, person_table

data = load_curves("test")
some = data.table[(data.table["test_type"] == "Pre") & data.table["age"].between(8, 77)]
seqn = some.loc[some["best"], "seqn"].iloc[0]
rows = np.flatnonzero(some["seqn"].to_numpy() == seqn)
person = some.iloc[rows[0]]
age, height, sex = float(person["age"]), float(person["height"]), ("male", "female")[int(person["sex"]) - 1]

parts = []
for batch in data.flow():
    names = data.table["seqn"].iloc[batch.rows].to_numpy()
    kinds = data.table["test_type"].iloc[batch.rows].to_numpy()
    for i in np.flatnonzero((names == seqn) & (kinds == "Pre")):
        flow = batch.flow[i, : batch.points[i]]
        effort = {"curve": len(parts) + 1, "time_s": np.arange(len(flow)) * 0.01, "flow_l_s": flow}
        parts.append(pd.DataFrame(effort).round(4))
pd.concat(parts).to_csv("mine.csv", index=False)
print(f"{len(parts)} efforts, {sex}, {age:g} years, {height:g} cm")
print(parts[0].iloc[60:64].to_string(index=False))

# %% [markdown]
# ## Indices, acceptability, grades
#
# Time zero by back-extrapolation, PEF, FEV1, FVC and the rest as ATS/ERS 2019 defines them; GLI Global z-scores;
# whether each effort is acceptable for FEV1 and for FVC as far as the curve tells; the grade of the session.
# The command is `spiro indices mine.csv --age … --height … --sex …`.

# %%
curves = read("mine.csv")
table = person_table(curves, Person(age, height, sex))
print(table[["fev1", "fvc", "ratio", "pef", "fev1_z", "fvc_z", "acceptable_fev1", "acceptable_fvc"]].round(2))
print("session:", *table[["session_fev1", "session_fvc"]].iloc[0])

# %% [markdown]
# ## Among others of the same age, height and sex
#
# The generator draws 200 best efforts of such people. The position of your own effort among them shows how usual it is
# in the population on which the model was trained, which includes sick people; the limits of normal are those of GLI,
# which are of healthy people.

# %%
others = SpiroGenerator.from_checkpoint("models").generate(age=age, height=height, sex=sex, n=200, seed=0)
drawn = others.indices()
best = int(table["fvc"].argmax())
for name, unit in (("fev1", "L"), ("fvc", "L"), ("pef", "L/s")):
    share = (drawn[name] < table[name][best]).mean()
    print(f"{name}: {table[name][best]:.2f} {unit}, above {100 * share:.0f} % of the drawn curves")

# %%
t0 = spirometry.indices(curves.flow, curves.points).t0[best]  # s from the first sample: the drawn curves have it at 0
time = np.arange(1, curves.points[best] + 1) * 0.01 - t0  # of each sample's end, where its volume is reached
volume = np.cumsum(curves.flow[best, : curves.points[best]]) * 0.01
figure = Figure(figsize=(9.6, 3.8), layout="constrained")
ax = figure.subplots()
plotted = (others.time >= 0) & (others.time < 6)
for low, high in ((5, 95), (25, 75)):
    band = np.nanpercentile(others.volume[:, plotted], [low, high], axis=0)
    ax.fill_between(others.time[plotted], *band, color="tab:blue", alpha=0.2, label=f"drawn, {low} to {high} %")
ax.plot(time, volume, color="tab:red", label="own")
ax.set(xlabel="time (s)", ylabel="volume (L)", xlim=(0, 6))
ax.legend()
figure.savefig("own_curve.png", dpi=90)

# %% [markdown]
# ![The own curve over bands of the drawn ones](own_curve.png)
#
# ## Faulty files
#
# Wrong columns, units or sampling rates end in one line that says what is wrong; nothing is guessed.

# %%
wrong = {
    "mL.csv": parts[0].assign(flow_l_s=1000 * parts[0]["flow_l_s"]),
    "ms.csv": parts[0].assign(time_s=1000 * parts[0]["time_s"]),
    "names.csv": parts[0].rename(columns={"flow_l_s": "channel_1"}),
}
for name, spoiled in wrong.items():
    spoiled.to_csv(name, index=False)
    try:
        read(name)
    except SpiroError as error:
        print(error)
