# SPDX-License-Identifier: Apache-2.0
"""What every data set is turned into: one image, one question, and what is true."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from samtok_ros.errors import ConfigError


@dataclass(frozen=True)
class TrueMask:
    """A mask of a data set, as it is written there.

    Attributes:
        segmentation: as in COCO; decoded when it is needed.
        label: phrase or category; may be empty.
        is_crowd: whether it stands for a group that no single mask need match.
    """

    segmentation: object
    label: str = ''
    is_crowd: bool = False


@dataclass(frozen=True)
class EarlierRound:
    """A finished round of a conversation; mask words stand in the texts as they are."""

    question: str
    answer: str


@dataclass(frozen=True)
class Sample:
    """One thing to ask.

    Attributes:
        sample_id: unique in its data set.
        image: file.
        question: final text; `<region:1>`, ... stand for the regions, mask words for themselves.
        truth: masks that belong to the right answer.
        regions: masks, as in COCO, that the question points at.
        earlier: rounds before, oldest first.
        asked_before: questions that the model has to answer first, after those rounds.
        size_hw: of the image, as the data set says; None where it does not.
        facts: whatever else the figures need; JSON values.
    """

    sample_id: str
    image: Path
    question: str
    truth: tuple[TrueMask, ...] = ()
    regions: tuple[object, ...] = ()
    earlier: tuple[EarlierRound, ...] = ()
    asked_before: tuple[str, ...] = ()
    size_hw: tuple[int, int] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A sample that is left out.

    Attributes:
        sample_id: of the sample.
        reason: the same words for the same reason, so that reasons can be counted.
        detail: what is special about this one, such as the file.
        facts: as in Sample, where a figure counts the sample all the same.
    """

    sample_id: str
    reason: str
    detail: str = ''
    facts: Mapping[str, object] = field(default_factory=dict)


Samples = Iterator[Sample | Skipped]


class Candidates(StrEnum):
    """How the question for a scene graph names categories and predicates to choose from."""

    LISTED = 'listed'
    TWO_ROUNDS = 'two-rounds'
    NONE = 'none'


@dataclass(frozen=True)
class DataPlace:
    """Where a data set lies, and which part of it is meant.

    Attributes:
        data: folder of the annotation files, or one of these files.
        images: folder of the images; None: the same folder.
        split: such as 'val'; None for the default of the data set.
        candidates: how questions name what there is to choose from, where published ones do.
    """

    data: Path
    images: Path | None = None
    split: str | None = None
    candidates: Candidates = Candidates.LISTED

    @property
    def folder(self) -> Path:
        """Folder of the annotation files."""
        return self.data.parent if self.data.is_file() else self.data

    def image(self, name: str) -> Path:
        """Return the path of an image: as it is named, or by its file name alone.

        The second is for images that lie in one folder while the data set names the folders of
        COCO. The file may be missing.
        """
        root = self.images or self.folder
        named, alone = root / name, root / Path(name).name
        return alone if not named.is_file() and alone.is_file() else named

    def file(self, *names: str) -> Path:
        """Return the first of some files that is there.

        Args:
            names: below the folder; a file given as `data` stands for all of them.
        Raises:
            ConfigError: none is there; the text names them all.
        """
        if self.data.is_file():
            return self.data
        for name in names:
            if (self.data / name).is_file():
                return self.data / name
        raise ConfigError(f'{self.data} holds no such data set', expected=' or '.join(names),
                          got=_content(self.data),
                          fix='lay the data set out as docs/evaluation.md says')


def one_file(name: str) -> Callable[[DataPlace], tuple[Path, ...]]:
    """Return what finds the annotation file of a data set that has only this one."""
    return lambda place: (place.file(name),)


def _content(folder: Path) -> str:
    if not folder.is_dir():
        return 'no such folder'
    names = sorted(path.name for path in folder.iterdir())
    return ', '.join(names[:8]) + (', ...' if len(names) > 8 else '') or 'an empty folder'
