"""A teacher: a trained network from whose logits and maps another one learns, beside its labels.

student.py puts the two side by side, likeness.py says how far apart their answers are, taught_objective.py adds that to
the loss of the labels. from_config.py opens the teacher.
"""
