"""Training: a run is opened, new or resumed; then the loop trains, evaluates, reports and saves.

Start with run.py, whose functions open a run in order, and continue with loop.py. step.py is one optimizer step,
state.py everything that a resumed run starts from. from_config.py reads the config for the room; own/ takes a
caller's own parts, teacher/ a network to learn from. Before the loop, budget/ finds how many images fit into memory,
and how many steps into a time; lr_range/ is a test that begins no run.
"""
