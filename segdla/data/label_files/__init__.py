"""Labels written as labelling tools and other trainers read them: polygons, or masks.

``regions.py`` turns class ids into polygons that restore them. A format is a module of ``written_formats.py``'s list;
``LabelWriter`` writes the files of one, image by image, and those of the whole set at the end.
"""
