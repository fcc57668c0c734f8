"""The judge: how well generated curves stand for real ones, each question in a file of its own.

| question | file |
| --- | --- |
| does the autoencoder keep the medicine? | `reconstruction` |
| is the conditional spread right? | `conditional` |
| does each group look right? | `groups` |
| can a classifier tell? | `two_sample` |
| is it useful? | `utility` |
| does it copy? | `copying` |
| is it physical? | `physics` |

`judge` puts the questions to a candidate (the generator, a baseline, real curves as the floor), `targets`
holds what it must reach, `measured` makes every curve pass through the spirometer's counter first,
`bootstrap` gives the intervals, `figures` says how a number is written down, `baselines` are the rivals.
docs/evaluation.md explains each figure.
"""
