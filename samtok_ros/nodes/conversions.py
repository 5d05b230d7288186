# SPDX-License-Identifier: Apache-2.0
"""Messages <-> records; the only file that knows both.

What comes from the graph is checked here, before memory is taken for it. What goes out is cut to
the bounds of the messages here, because a publisher refuses longer texts only when it is too late.
"""

import array
from collections.abc import Sequence
from functools import partial
from unicodedata import category

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from samtok_ros.errors import ConfigError, ImageError, SpanError
from samtok_ros.image.encodings import check_image, image_to_rgb
from samtok_ros.masks.rle import mask_to_rle
from samtok_ros.msg import FrameInfo, Goal, MaskWord, MaskWords, RegionMask, RegionMasks
from samtok_ros.nodes.bounds import MOST_RUNS
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.compressed import compressed_size, decode_image
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.records import FrameResult, Status

MAX_GOAL_BYTES = 1024
MAX_LABEL_BYTES = 256
MAX_ANSWER_BYTES = 16384
MAX_MESSAGE_BYTES = 1024
MAX_REGIONS = 64

_NS_PER_S = 1_000_000_000


def stamp_to_ns(stamp: Time) -> int:
    """Return a stamp in nanoseconds; `ns_to_stamp` is the inverse."""
    return stamp.sec * _NS_PER_S + stamp.nanosec


def ns_to_stamp(stamp_ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    return Time(sec=stamp_ns // _NS_PER_S, nanosec=stamp_ns % _NS_PER_S)


def header_of(record: Frame | FrameResult) -> Header:
    """Return the header of the image that a record belongs to, bit for bit."""
    return Header(stamp=ns_to_stamp(record.stamp_ns), frame_id=record.frame_id)


def goal_text(message: Goal) -> str:
    """Return the text of a goal without blanks around it, '' when it clears.

    Raises:
        ConfigError: the text is too long or was no valid UTF-8.
    """
    size = len(message.text.encode(errors='replace'))
    if size > MAX_GOAL_BYTES:
        raise ConfigError('goal text is too long', expected=f'at most {MAX_GOAL_BYTES} bytes',
                          got=f'{size} bytes', fix='say it in fewer words')
    # The middleware puts this character in the place of bytes that are no UTF-8.
    if '\N{REPLACEMENT CHARACTER}' in message.text:
        raise ConfigError('goal text is not valid UTF-8', fix='send UTF-8 text')
    control = next((c for c in message.text if category(c) == 'Cc' and c not in '\t\n\r'), None)
    if control is not None:
        raise ConfigError('goal text has a control character', got=f'U+{ord(control):04X}',
                          fix='send plain text')
    return message.text.strip()


def has_markers(text: str) -> bool:
    """Tell whether a text holds what looks like mask words or chat markers."""
    return '<|' in text


def image_to_frame(message: Image, max_pixels: float, convert_raw: bool = False) -> Frame:
    """Wrap an image message; its layout is checked, its pixels are read later.

    Args:
        message: the image.
        max_pixels: larger images are refused.
        convert_raw: whether Bayer and YUV images are converted; else they are refused.
    Raises:
        ImageError: no usable stamp, unknown encoding, no pixels or too many, data that do not
            fit the size.
    """
    stamp_ns = checked_stamp(message.header)
    layout = (message.data, message.height, message.width, message.encoding, message.step)
    limits = {'max_pixels': max_pixels, 'convert_raw': convert_raw}
    size = check_image(*layout, **limits)
    return Frame(stamp_ns, message.header.frame_id,
                 partial(image_to_rgb, *layout, bool(message.is_bigendian), **limits),
                 len(message.data), lambda: size)


def compressed_to_frame(message: CompressedImage, max_pixels: float) -> Frame:
    """Wrap a compressed image message; it is decoded when somebody needs its pixels.

    Raises:
        ImageError: no usable stamp, or no data.
    """
    stamp_ns = checked_stamp(message.header)
    if not message.data:
        raise ImageError('compressed image has no data', fix='check the camera driver')
    return Frame(stamp_ns, message.header.frame_id,
                 partial(decode_image, message.data, max_pixels), len(message.data),
                 partial(compressed_size, message.data, max_pixels))


def result_to_words(result: FrameResult) -> MaskWords:
    """Return what the language model said as a message; `words_to_result` is the inverse."""
    message = MaskWords(
        header=header_of(result), height=result.size.height, width=result.size.width,
        tokenizer_id=result.tokenizer_id, goal=cut_text(result.goal, MAX_GOAL_BYTES),
        goal_id=result.goal_id, answer=cut_text(result.answer, MAX_ANSWER_BYTES),
        complete=result.complete, malformed_spans=result.malformed_count,
        status=int(result.status), message=cut_text(result.message, MAX_MESSAGE_BYTES))
    message.words = [_word_of(region) for region in result.regions[:MAX_REGIONS]]
    return message


def words_to_result(message: MaskWords) -> FrameResult:
    """Return a words message as a record.

    Raises:
        ImageError: no usable stamp or no image size.
        SpanError: an unknown status, or see words_to_regions.
    """
    if message.status not in set(Status):
        raise SpanError('mask words have an unknown status', expected='0 to 4',
                        got=message.status)
    return FrameResult(
        checked_stamp(message.header), message.header.frame_id,
        ImageSize(message.height, message.width), message.tokenizer_id, message.goal,
        message.goal_id, message.answer, message.complete,
        words_to_regions(message.words), message.malformed_spans, Status(message.status),
        message.message)


def words_to_regions(messages: Sequence[MaskWord]) -> tuple[Region, ...]:
    """Return words as regions without masks.

    Raises:
        SpanError: a word without codes, or with a score that is no probability.
    """
    for word in messages:
        if not 0 <= word.score <= 1:
            raise SpanError(f'score of word {word.id} is no probability', expected='0 to 1',
                            got=word.score)
    return tuple(Region(word.id, tuple(word.codes), word.label, word.score) for word in messages)


def result_to_masks(result: FrameResult) -> RegionMasks:
    """Return decoded regions as a message.

    A mask of too many runs for the message is sent without its runs, which the message says.
    """
    message = RegionMasks(
        header=header_of(result), height=result.size.height, width=result.size.width,
        tokenizer_id=result.tokenizer_id, goal=cut_text(result.goal, MAX_GOAL_BYTES),
        goal_id=result.goal_id, complete=result.complete, status=int(result.status),
        origin=int(result.origin), answer_stamp=ns_to_stamp(
            result.stamp_ns if result.answer_stamp_ns is None else result.answer_stamp_ns))
    message.masks = [_mask_of(region) for region in result.regions[:MAX_REGIONS]]
    too_long = [mask.id for mask in message.masks if not mask.rle]
    notes = [result.message] if result.message else []
    if too_long:
        notes.append(f'masks of more than {MOST_RUNS} runs are left out: regions {too_long}')
    message.message = cut_text('. '.join(notes), MAX_MESSAGE_BYTES)
    return message


def mask_to_image(result: FrameResult, mask: np.ndarray | None) -> Image:
    """Return a mask as a mono8 image of 0 and 255 with the stamp of its image; None is empty."""
    size = result.size
    pixels = np.zeros((size.height, size.width), np.uint8) if mask is None else (
        mask.astype(np.uint8) * 255)
    return Image(header=header_of(result), height=size.height, width=size.width, encoding='mono8',
                 is_bigendian=0, step=size.width, data=byte_array(pixels))


def labels_to_image(result: FrameResult, labels: np.ndarray) -> Image:
    """Return (H, W) uint16 region numbers as a 16UC1 image with the stamp of their image."""
    size = result.size
    return Image(header=header_of(result), height=size.height, width=size.width, encoding='16UC1',
                 is_bigendian=0, step=2 * size.width,
                 data=byte_array(labels.astype('<u2', copy=False)))


def frame_info(frame: Frame) -> FrameInfo:
    """Say which frame is cached.

    Raises:
        ImageError: the frame cannot be read as an image.
    """
    size = frame.size
    return FrameInfo(header=header_of(frame), height=size.height, width=size.width,
                     features_cached=frame.features is not None)


def jpeg_to_message(result: FrameResult, jpeg: bytes) -> CompressedImage:
    """Return a JPEG file as a message with the stamp of the image it was made from."""
    data = array.array('B')
    data.frombytes(jpeg)
    return CompressedImage(header=header_of(result), format='rgb8; jpeg compressed bgr8', data=data)


def byte_array(pixels: np.ndarray) -> array.array:
    """Return an array's bytes in the form that costs no check of each element.

    Assigning a NumPy array to `data` of an image message takes a thousand times as long.
    """
    data = array.array('B')
    data.frombytes(memoryview(np.ascontiguousarray(pixels)).cast('B'))
    return data


def _word_of(region: Region) -> MaskWord:
    return MaskWord(id=region.region_id, codes=array.array('H', region.codes),
                    score=_unit(region.score), label=cut_text(region.label, MAX_LABEL_BYTES))


def _mask_of(region: Region) -> RegionMask:
    runs = mask_to_rle(region.mask)
    rle = array.array('I')
    if len(runs) <= MOST_RUNS:
        rle.frombytes(memoryview(runs).cast('B'))
    left, top, right, bottom = map(int, region.box_xyxy or (0, 0, 0, 0))
    return RegionMask(
        id=region.region_id, track_id=region.track_id, lost=region.lost,
        codes=array.array('H', region.codes),
        label=cut_text(region.label, MAX_LABEL_BYTES), score=_unit(region.score),
        mask_score=_unit(region.mask_score or 0.0), area_px=int(np.count_nonzero(region.mask)),
        box=RegionOfInterest(x_offset=left, y_offset=top, width=right - left,
                             height=bottom - top), rle=rle)


def checked_stamp(header: Header) -> int:
    """Return the stamp of an image in nanoseconds.

    Raises:
        ImageError: it is no time, or none was set.
    """
    if not 0 <= header.stamp.nanosec < _NS_PER_S or header.stamp.sec < 0:
        raise ImageError('stamp is no time', got=f'{header.stamp.sec} s {header.stamp.nanosec} ns',
                         fix='check the sender')
    stamp_ns = stamp_to_ns(header.stamp)
    if not stamp_ns:
        raise ImageError('image has no stamp, so no result could be matched to it',
                         fix='let the camera driver stamp its images')
    return stamp_ns


def _unit(score: float) -> float:
    return float(min(max(score, 0.0), 1.0)) if score == score else 0.0


def cut_text(text: str, max_bytes: int) -> str:
    """Cut a text to the bound of a message field, between two characters."""
    data = text.encode(errors='replace')
    return text if len(data) <= max_bytes else data[:max_bytes].decode(errors='ignore')
