"""The size and the length of a run, where memory and time decide them: ``train.batch_size: auto``, ``train.minutes``.

batch_fit.py finds how many images fit into memory, rehearsal.py and time_budget.py how many steps into a time.
"""
