# SPDX-License-Identifier: Apache-2.0
"""Regions of a frame that a request points at, and what they are in codes.

A region is pointed at by its codes, by its number in the last answer, or by a mask, a box or a
point; the latter three are drawn and encoded by the mask tokenizer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from samtok_ros.errors import ImageError, SpanError
from samtok_ros.image.zoom import Crop, ZoomRule, zoomed
from samtok_ros.masks.prompt_shapes import check_prompt, check_shown
from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.masks.scores import iou
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt, Region
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import Codes, MaskAccess, batches, check_mask_memory


@dataclass(frozen=True)
class CodesReference:
    """A region by its codes, one per level."""

    codes: Codes


@dataclass(frozen=True)
class IdReference:
    """A region by its number in the last complete answer about the frame."""

    region_id: int


@dataclass(frozen=True, eq=False)
class RunsReference:
    """A region by a mask that somebody drew.

    Attributes:
        runs: (R,) uint32 run lengths, see masks.rle.
    """

    runs: np.ndarray


Drawn = RunsReference | BoxPrompt | PointPrompt
Reference = CodesReference | IdReference | Drawn


def codes_of_references(
    frame: Frame, references: Sequence[Reference], access: MaskAccess,
) -> tuple[Codes, ...]:
    """Return the codes of regions, in their order.

    Args:
        frame: that they are in.
        references: to them; codes are handed through unchecked.
        access: draws and encodes; not used when there are only codes and numbers.
    Raises:
        SpanError: a number that the last answer does not have.
        ImageError: a mask, box or point that does not fit the frame, or shows nothing.
        SamtokError: the mask tokenizer failed.
    """
    codes: dict[int, Codes] = {}
    drawn: dict[int, Drawn] = {}
    for number, reference in enumerate(references, start=1):
        if isinstance(reference, CodesReference):
            codes[number] = reference.codes
        elif isinstance(reference, IdReference):
            codes[number] = _codes_of_id(frame, reference.region_id, number)
        else:
            drawn[number] = reference
    if drawn:
        rows = (row for masks in draw_references(frame, drawn, access)
                for row in access.encode(frame, masks).tolist())
        codes.update(zip(drawn, map(tuple, rows), strict=True))
    return tuple(codes[number] for number in sorted(codes))


def encode_references(
    frame: Frame, references: Sequence[Drawn], access: MaskAccess,
) -> tuple[tuple[Region, ...], tuple[float, ...]]:
    """Return regions numbered from 1 with codes, and how well these draw the same masks again.

    Args:
        frame: that the regions are in.
        references: masks, boxes or points.
        access: draws, encodes and decodes.
    Returns:
        Regions without masks, and the IoU of each mask with the one that its codes stand for.
    Raises:
        ImageError: a mask, box or point that does not fit the frame, or shows nothing.
        SamtokError: the mask tokenizer failed.
    """
    regions: list[Region] = []
    overlaps: list[float] = []
    for masks in draw_references(frame, dict(enumerate(references, start=1)), access):
        found = tuple(Region(number, tuple(codes), '', 0.0) for number, codes in enumerate(
            access.encode(frame, masks).tolist(), start=len(regions) + 1))
        again = access.decode(frame, found)
        overlaps += [iou(mask, region.mask) for mask, region in zip(masks, again, strict=True)]
        regions += found
    return tuple(regions), tuple(overlaps)


def draw_references(
    frame: Frame, references: dict[int, Drawn], access: MaskAccess,
) -> Iterator[np.ndarray]:
    """Yield the masks of regions, in order, so many at a time as memory is there for.

    Args:
        frame: that the regions are in.
        references: by the number that errors name them by.
        access: draws boxes and points.
    Yields:
        (n, H, W) bool, none of them empty.
    Raises:
        ImageError: see encode_references; sizes are checked before any mask is drawn.
    """
    size = frame.size
    for number, reference in references.items():
        _check_fits(number, reference, size)
    check_mask_memory(len(references), size)
    for numbers in batches(list(references), size):
        masks = np.zeros((len(numbers), size.height, size.width), np.bool_)
        rows = {row: references[number] for row, number in enumerate(numbers)}
        prompts = {row: item for row, item in rows.items() if not isinstance(item, RunsReference)}
        if prompts:
            masks[list(prompts)] = access.draw_prompts(frame, list(prompts.values()))
        for row in rows.keys() - prompts.keys():
            masks[row] = rle_to_mask(rows[row].runs, masks.shape[1:], max_pixels=masks[row].size)
        for number, mask in zip(numbers, masks, strict=True):
            prompt = references[number]
            check_shown(number, mask, None if isinstance(prompt, RunsReference) else prompt)
        yield masks


def crop_of(
    frame: Frame, reference: Reference, codes: Codes, rule: ZoomRule, access: MaskAccess,
) -> Crop | None:
    """Cut a region out of a frame and enlarge it, if the rule asks for it.

    Args:
        frame: that the region is in.
        reference: to the region.
        codes: of the region; where no mask is given they say which pixels it has.
        rule: when and how.
        access: decodes codes.
    """
    if isinstance(reference, RunsReference):
        size = frame.size
        mask = rle_to_mask(reference.runs, (size.height, size.width),
                           max_pixels=size.height * size.width)
    else:
        mask = access.decode(frame, (Region(1, codes, '', 0.0),))[0].mask
    return zoomed(frame.image_rgb(), mask, rule) if mask.any() else None


def without_masks(regions: Sequence[Region]) -> tuple[Region, ...]:
    """Return regions that hold no pixels, to be kept with a frame."""
    return tuple(replace(region, mask=None) for region in regions)


def _codes_of_id(frame: Frame, region_id: int, number: int) -> Codes:
    known = {region.region_id: region.codes for region in frame.last_regions}
    if region_id not in known:
        raise SpanError(
            f'region {number} names id {region_id}, which the last answer about this image does '
            'not have', expected=', '.join(map(str, known)) or 'no answer with regions is known',
            fix='name regions of the last complete answer, or give their codes')
    return known[region_id]


def _check_fits(number: int, reference: Drawn, size: ImageSize) -> None:
    """Refuse what does not lie in the frame, before memory is taken for it."""
    if not isinstance(reference, RunsReference):
        check_prompt(number, reference, size)
        return
    total, pixels = int(reference.runs.sum(dtype=np.uint64)), size.height * size.width
    if total != pixels:
        raise ImageError(f'run lengths of region {number} do not fit the image',
                         expected=f'a sum of {size.height} x {size.width} = {pixels}',
                         got=total, fix='give a mask of the size of the image')
