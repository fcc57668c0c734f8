"""The judge: how closely generated curves match held-out ones, one question a module.

| question | file |
| --- | --- |
| what is the round-trip error of the indices? | `autoencoder` |
| is the conditional spread right? | `conditional` |
| does each group look right? | `groups` |
| can a classifier tell? | `two_sample` |
| is it useful? | `utility` |
| does it copy? | `copying` |
| is it physical? | `physics` |

`judge` puts the questions to a candidate (the generator, a baseline, training curves as the floor), `registry` lists
the figures with their labels, units and targets, `targets` gives the verdicts, `record` is what is stored, `plot_data`
what the plots need. `measured` makes every curve pass through the spirometer's counter first, `bootstrap` gives the
intervals, `figures` says how a number is written down. docs/evaluation.md explains each figure.
"""
