"""The built-in data set: drawn street scenes with exact masks, without files or downloads.

``canvas.py`` is the camera and the paint, ``houses.py`` and ``things.py`` draw what stands on a street, ``street.py``
composes a scene.
"""

from segdla.data.scenes.scenes_source import Scenes

__all__ = ["Scenes"]
