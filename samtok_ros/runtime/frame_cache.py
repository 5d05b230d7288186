# SPDX-License-Identifier: Apache-2.0
"""Frames and the cache that keeps them until their words come back."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.backend import MaskModel

_STAMPS_NAMED = 5

_SPOKEN_OF = 4
"""Frames that stay because they were spoken of last. One is enough for the answer at hand; but its
words travel on after its end, while the next answers begin and questions cut in."""


class Frame:
    """One camera image with its stamp, and what was computed from it.

    Pixels are read when somebody needs them: a frame that is overwritten costs nothing. Only the
    worker thread reads pixels and computes features.

    Attributes:
        stamp_ns: stamp of the image in nanoseconds; results carry it bit for bit.
        frame_id: optical frame of the camera, as it came.
        features: image features of the mask tokenizer, None until computed.
        decoded: mask and predicted IoU by codes, for the answer that is being spoken.
        last_regions: of the last complete answer about the frame, set by whoever closes it; ids in
            requests are looked up here.
    """

    def __init__(
        self, stamp_ns: int, frame_id: str, read_rgb: Callable[[], np.ndarray], source_nbytes: int,
        read_size: Callable[[], ImageSize] | None = None,
    ) -> None:
        """Wrap an image message.

        Args:
            stamp_ns: stamp of the image.
            frame_id: frame of the image.
            read_rgb: returns (H, W, 3) uint8, or raises ImageError; called at most once.
            source_nbytes: memory the message holds.
            read_size: returns the size without reading the pixels, or raises ImageError; left out,
                the pixels are read for it.
        """
        self.stamp_ns = stamp_ns
        self.frame_id = frame_id
        self.features: object | None = None
        self.decoded: dict[tuple[int, ...], tuple[np.ndarray, float]] = {}
        self.last_regions: tuple[Region, ...] = ()
        self._read_rgb = read_rgb
        self._read_size = read_size or (lambda: ImageSize(*self.image_rgb().shape[:2]))
        self._size: ImageSize | None = None
        self._image_rgb: np.ndarray | None = None
        self._source_nbytes = source_nbytes

    def image_rgb(self) -> np.ndarray:
        """Return (H, W, 3) uint8.

        Raises:
            ImageError: the message cannot be read as an image.
        """
        if self._image_rgb is None:
            self._image_rgb = self._read_rgb()
        return self._image_rgb

    @property
    def size(self) -> ImageSize:
        """Size of the image.

        Raises:
            ImageError: the message cannot be read as an image.
        """
        if self._size is None:
            self._size = self._read_size()
        return self._size

    @property
    def nbytes(self) -> int:
        """Memory held: the message, pixels that are no view of it, features and masks."""
        image = self._image_rgb
        pixels = image.nbytes if image is not None and image.base is None else 0
        features = getattr(self.features, 'nbytes', 0)
        return self._source_nbytes + pixels + features + sum(
            mask.nbytes for mask, _ in list(self.decoded.values()))


def stamp_text(stamp_ns: int) -> str:
    """Return a stamp as people read it: seconds with nine decimals."""
    return f'{stamp_ns // 1_000_000_000}.{stamp_ns % 1_000_000_000:09}'


class FrameCache:
    """Frames by stamp, bounded by count and by memory; the oldest arrivals go first.

    Where memory is short, features of older frames go before any frame does. The frames that were
    spoken of last stay with their features, over both bounds if need be: an answer may take longer
    than all others are kept, and what it says can only be drawn on its frame.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self._spoken_of: OrderedDict[int, Frame] = OrderedDict()
        self._newest: Frame | None = None
        self._max_frames = max_frames
        self._max_bytes = max_bytes

    def resize(self, max_frames: int, max_bytes: int) -> None:
        """Change the bounds."""
        with self._lock:
            self._max_frames, self._max_bytes = max_frames, max_bytes
            self._evict()

    def put(self, frame: Frame) -> None:
        """Keep a frame; one with the same stamp is replaced."""
        with self._lock:
            self._frames.pop(frame.stamp_ns, None)
            self._frames[frame.stamp_ns] = self._newest = frame
            if frame.stamp_ns in self._spoken_of:
                self._spoken_of[frame.stamp_ns] = frame
            self._evict()

    def protect(self, frame: Frame) -> None:
        """Keep a frame that is spoken of until some others were; one that is gone is put back.

        It never becomes the newest by that. Where another frame with its stamp has come since, that
        one stays instead.
        """
        with self._lock:
            kept = self._frames.get(frame.stamp_ns, frame)
            self._spoken_of.pop(frame.stamp_ns, None)
            self._spoken_of[frame.stamp_ns] = kept
            if len(self._spoken_of) > _SPOKEN_OF:
                self._spoken_of.popitem(last=False)
            self._evict()

    def get(self, stamp_ns: int) -> Frame | None:
        """Return the frame with exactly this stamp, or None."""
        with self._lock:
            return self._frames.get(stamp_ns) or self._spoken_of.get(stamp_ns)

    def newest(self) -> Frame | None:
        """Return the frame that came last, or None where none came since `begin_anew`."""
        return self._newest

    def begin_anew(self) -> None:
        """Call no frame the newest that is here already, as images are taken again after a pause.

        Under their stamps they can still be had.
        """
        with self._lock:
            self._newest = None

    def newest_first(self) -> tuple[Frame, ...]:
        """Return all frames, the one that came last first."""
        with self._lock:
            return self._all()[::-1]

    def find(self, stamp_ns: int) -> Frame:
        """Return the frame that a request names: the one with exactly this stamp.

        Args:
            stamp_ns: 0 for the newest frame.
        Raises:
            ImageError: it is not here; the text names the stamps that are.
        """
        frame = self.get(stamp_ns) if stamp_ns else self.newest()
        if frame is not None:
            return frame
        stamps = [stamp_text(frame.stamp_ns) for frame in self.newest_first()]
        if not stamps:
            raise ImageError('no image is in the cache',
                             fix='wait for the first one; /diagnostics says why none comes')
        named = ', '.join(stamps[:_STAMPS_NAMED])
        more = f' and {len(stamps) - _STAMPS_NAMED} older ones' * (len(stamps) > _STAMPS_NAMED)
        if not stamp_ns:
            raise ImageError('no image has come since the node was activated or time went back',
                             fix=f'wait for the next one, or name an older one: {named}{more}')
        raise ImageError(
            'no image with this stamp is in the cache', got=stamp_text(stamp_ns),
            expected=f'{named}{more}', fix='take a stamp that is there, or 0 for the newest; '
            'cache.frames says how many are kept')

    def features_of(self, frame: Frame, model: MaskModel) -> object:
        """Return the frame's features, computed when they are first needed.

        Raises:
            ImageError: the frame cannot be read as an image.
        """
        features = frame.features
        if features is None:
            features = frame.features = model.embed_image(frame.image_rgb())
            self.trim()
        return features

    def trim(self) -> None:
        """Keep to the bounds again after a frame has grown."""
        with self._lock:
            self._evict()

    def forget_features(self) -> None:
        """Give back what a mask tokenizer that is no longer there has computed."""
        with self._lock:
            for frame in self._all():
                frame.features = None
                frame.decoded = {}

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the frames with later stamps: after a jump back they are of another time."""
        with self._lock:
            for frames in (self._frames, self._spoken_of):
                for stamp in [stamp for stamp in frames if stamp > stamp_ns]:
                    del frames[stamp]
            if self._newest is not None and self._newest.stamp_ns > stamp_ns:
                self._newest = None

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._frames.clear()
            self._spoken_of.clear()
            self._newest = None

    def __len__(self) -> int:
        """Frames kept."""
        return len(self.stamps())

    @property
    def nbytes(self) -> int:
        """Memory held by all frames."""
        with self._lock:
            return self._nbytes()

    def stamps(self) -> tuple[int, ...]:
        """Return the stamps of the frames kept, oldest arrival first."""
        with self._lock:
            return tuple(frame.stamp_ns for frame in self._all())

    def _all(self) -> tuple[Frame, ...]:
        """Return the frames in order of arrival; those only kept as spoken of are the oldest."""
        return (*(frame for stamp, frame in self._spoken_of.items() if stamp not in self._frames),
                *self._frames.values())

    def _nbytes(self) -> int:
        return sum(frame.nbytes for frame in self._all())

    def _evict(self) -> None:
        while len(self._frames) > self._max_frames:
            self._frames.popitem(last=False)
        # The newest frame stays even when it alone is over the memory bound: without it nothing
        # could be decoded at all.
        # Features can be computed again, images do not come again.
        over = self._nbytes() - self._max_bytes
        for frame in tuple(self._frames.values())[:-1]:
            if over <= 0:
                return
            if frame.stamp_ns not in self._spoken_of:
                before, frame.features = frame.nbytes, None
                over -= before - frame.nbytes
        while len(self._frames) > 1 and self._nbytes() > self._max_bytes:
            self._frames.popitem(last=False)
