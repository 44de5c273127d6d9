"""A finding of the doctor, and the kinds that there are."""

from dataclasses import dataclass

IS_SERIOUS = {
    "missing weights": True,
    "unusable split": True,
    "image without mask": True,
    "mask without image": False,
    "unreadable image": True,
    "unreadable mask": True,
    "sizes differ": True,
    "unknown labels": True,
    "ids of several meanings": True,
    "lost pixels": True,
    "unused bits": True,
    "turned apart": False,
    "unlabelled": False,
    "labels shifted": False,
    "labels mirrored": False,
    "classes exchanged": False,
    "nearly constant image": False,
    "duplicates": False,
    "duplicates with different masks": True,
    "duplicates of different classes": True,
    "duplicate across splits": True,
    "labelled images among the unlabelled": False,
    "near duplicates": False,
    "near duplicate across splits": True,
    "similar images across splits": False,
    "class never occurs": True,
    "class missing from split": False,
}
"""Kinds of findings, in the order of a report: serious (True) if it would stop training, spoil it or falsify scores."""


@dataclass(frozen=True)
class Finding:
    """A fault of a data set, or something that looks like one; or a fault of the config's weights."""

    kind: str  # one of IS_SERIOUS
    split: str  # or the config's section
    message: str  # names the file

    @property
    def serious(self) -> bool:
        return IS_SERIOUS[self.kind]
