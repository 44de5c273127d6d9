"""Data sets: from files, or from drawn scenes, to the batches that a network is trained and scored on.

A mask file becomes an array in ``images.py``, an array of labels becomes train ids in ``labels.py``, and ``pairing.py``
finds the mask of each image. ``source.py`` says what a data set is; ``folder.py``, ``annotations/`` (exports of
labelling tools), ``scenes/`` and a file for each public set, such as ``cityscapes.py``, are the data sets. Files in
archives and tables are read in place (``archives.py``). ``samples.py`` and ``transforms.py`` make samples of them,
``loader.py`` makes batches.
"""
