# SPDX-License-Identifier: Apache-2.0
"""Regions as messages of vision_msgs, for consumers that know nothing of this package.

vision_msgs is optional: where it is not installed, there are none of these outputs. Its message
classes are handed in, so that nothing else depends on it. Fields are those of Humble and later.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from samtok_ros.masks.label_image import MAX_NUMBER
from samtok_ros.nodes.conversions import header_of
from samtok_ros.regions import Region
from samtok_ros.runtime.records import FrameResult

LabelTable = tuple[tuple[int, str], ...]
"""Number and name of each region of a label image."""


def vision_types() -> ModuleType | None:
    """Return the messages of vision_msgs, None where it is not installed."""
    try:
        from vision_msgs import msg
    except ImportError:
        return None
    return msg


def label_table(regions: Sequence[Region]) -> LabelTable:
    """Return number and name of the regions that a label image can show."""
    return tuple((region.region_id, _name_of(region)) for region in regions
                 if 1 <= region.region_id <= MAX_NUMBER)


def to_label_info(result: FrameResult, table: LabelTable, types: Any) -> Any:
    """Return the table as vision_msgs/LabelInfo; no threshold was used on scores.

    Args:
        result: gives the header.
        table: of the label image of the same header.
        types: the messages of vision_msgs.
    """
    message = types.LabelInfo()
    message.header = header_of(result)
    for number, name in table:
        entry = types.VisionClass()
        entry.class_id, entry.class_name = number, name
        message.class_map.append(entry)
    return message


def to_detections(result: FrameResult, types: Any) -> Any:
    """Return the boxes of regions as vision_msgs/Detection2DArray; an empty mask has none.

    The class of a detection is its name as in the label table, its id the number of the region.

    Args:
        result: with masks.
        types: the messages of vision_msgs.
    """
    message = types.Detection2DArray()
    message.header = header_of(result)
    message.detections = [_detection(result, region, types) for region in result.regions
                          if region.box_xyxy is not None]
    return message


def _detection(result: FrameResult, region: Region, types: Any) -> Any:
    hypothesis = types.ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = _name_of(region)
    hypothesis.hypothesis.score = min(max(region.score, 0.0), 1.0)
    detection = types.Detection2D()
    detection.header = header_of(result)
    detection.id = str(region.region_id)
    detection.results = [hypothesis]
    left, top, right, bottom = region.box_xyxy
    box = detection.bbox
    box.center.position.x, box.center.position.y = (left + right) / 2, (top + bottom) / 2
    box.size_x, box.size_y = right - left, bottom - top
    return detection


def _name_of(region: Region) -> str:
    return region.label or f'region {region.region_id}'
