# %% [markdown]
# # Generate a population
#
# How do you draw curves for one person, for a table of people, and for a population as a survey weighs it? With the
# trained generator. Run it from the folder that holds `models/` and `data/`, after `make repro`; in an editor that
# knows `# %%` cells (VS Code, Spyder, Jupytext) it is a notebook. For research; **not for diagnosis**.

# %%
import numpy as np
from matplotlib.figure import Figure

from spiro_diffusion.api import SpiroGenerator, load_curves
from spiro_diffusion.generation.drawn_curves import describe
from spiro_diffusion.generation.populations import draw_people

generator = SpiroGenerator.from_checkpoint("models")
print(generator.made_from["curves"], "curves trained it; source:", generator.made_from["data"])

# %% [markdown]
# ## One person
#
# These are a hundred best acceptable efforts before a bronchodilator. They belong to a hundred different people of this
# age, height and sex, not to one person: their spread is that of the population.

# %%
curves = generator.generate(age=45, height=175, sex="male", n=100, seed=0)
table = curves.indices()
print(table[["fev1", "fvc", "ratio", "pef", "fev1_z"]].quantile([0.05, 0.5, 0.95]).round(2))
curves.plot("one_person.png")

# %% [markdown]
# ![Flow against volume and volume against time of the hundred curves](one_person.png)
#
# ## Several people
#
# The table has one row per person; the column `person` of the result is the number of that row. The same seed gives the
# same curves.

# %%
people = {"age": [10, 30, 70], "height": [140, 180, 160], "sex": ["female", "male", "female"]}
several = generator.generate(people, n=50, seed=1)
medians = several.indices().groupby("person")[["fev1", "fvc", "ratio"]].median().round(2)
for person, row in medians.iterrows():
    print(describe(several.people.iloc[person]), row.to_dict())

# %% [markdown]
# ## A population
#
# `draw_people` draws participants of the pipeline's data by their survey weight and varies age and height slightly;
# `spiro cohort` draws all efforts of each person from one lung and writes a data set. Here one best effort of each is
# drawn and compared with the best efforts of the participants, who are simulated in the default data.

# %%
participants = load_curves().table
rng = np.random.default_rng(0)
asked = draw_people(participants, 400, generator.made_from, rng)
asked = asked[asked["best"].astype(bool)].reset_index(drop=True)
made = generator.draw(asked, 1, seed=2).indices()
participants = participants[participants["best"]]
for name in ("fev1", "fvc"):
    mean = np.average(participants[name].dropna(), weights=participants["mec_weight"][participants[name].notna()])
    print(f"{name}: participants {mean:.2f} L (weighted), drawn {made[name].mean():.2f} L")

# %%
figure = Figure(figsize=(9.6, 3.8), layout="constrained")
for ax, name in zip(figure.subplots(1, 2, sharex=True), ("fev1", "fvc"), strict=True):
    ax.scatter(participants["age"], participants[name], s=6, alpha=0.4, label="participants")
    ax.scatter(made["age"], made[name], s=6, alpha=0.4, label="drawn")
    ax.set(xlabel="age (years)", ylabel=f"{name.upper()} (L)")
    ax.legend()
figure.savefig("population.png", dpi=90)

# %% [markdown]
# ![FEV1 and FVC against age, of participants and of drawn people](population.png)
#
# The points of participants and of drawn people should form one cloud. Whether they do is decided by figures and not by
# a plot: [how generation is judged](../evaluation.md). For several efforts of one lung, and for a data set to share,
# use [`spiro cohort`](../datasets.md).
