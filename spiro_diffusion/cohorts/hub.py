"""A model as a publishable folder: model card with Hugging Face header, weights, licence, checksums."""

import dataclasses
import shutil
from pathlib import Path

import yaml

from spiro_diffusion.cohorts.folder import CARD, LICENSE, SUMS, appearing, check
from spiro_diffusion.cohorts.metadata import KEYWORDS
from spiro_diffusion.core.artifacts import sha256, write_text
from spiro_diffusion.generation import weights_licence
from spiro_diffusion.models.header import read_made_from
from spiro_diffusion.reporting import model_card

WEIGHTS = ("vqvae.safetensors", "cldm.safetensors", "reconstructor.safetensors")  # the last where it is there
FILES = (CARD, LICENSE, SUMS, *WEIGHTS)
OF_CODE = "licence: Apache-2.0"  # as the card of the repository has it
OF_BOTH = f"licence of the weights: {weights_licence.NAME} (LICENSE); licence of the code: Apache-2.0"
HEAD = {
    "license": weights_licence.NAME.lower(),
    "library_name": "spiro-diffusion",
    "tags": [*(word.replace(" ", "-") for word in KEYWORDS), "simulated", "diffusion", "vq-vae", "safetensors"],
}
USE = """## Draw from these weights

```bash
spiro generate --models . --age 45 --height 175 --sex male -n 20 --out curves.csv
```

`sha256sum -c SHA256SUMS` checks the files.
"""


def write_hub(folder: Path, models: Path, metrics: Path, force: bool = False) -> list[Path]:
    """Write a folder that can be published on a model hub, in a release or in an archive. Returns its files.

    Args:
        models: the checkpoints.
        metrics: the folder of the evaluation, `metrics/evaluate`.

    Raises:
        SpiroError: the model was trained on anything but simulated people or was not evaluated, or the folder
            exists and not `force`, or contains other files.
    """
    made_from = dataclasses.asdict(read_made_from(models / "cldm.safetensors"))
    weights_licence.check(made_from, models)
    check(folder, force, FILES, "model")
    text = model_card.card(made_from, model_card.read(metrics)).replace(OF_CODE, OF_BOTH)
    with appearing(folder) as part:
        write_text(part / CARD, f"---\n{yaml.safe_dump(HEAD, sort_keys=False)}---\n\n{text}\n{USE}")
        write_text(part / LICENSE, weights_licence.TERMS)
        for name in WEIGHTS:
            if (models / name).is_file():
                shutil.copyfile(models / name, part / name)
        names = sorted(file.name for file in part.iterdir())
        write_text(part / SUMS, "".join(f"{sha256(part / name)}  {name}\n" for name in names))
    return [folder / name for name in (*names, SUMS)]
