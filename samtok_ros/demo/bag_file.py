# SPDX-License-Identifier: Apache-2.0
"""Bags of the standard storage (MCAP with compressed chunks), written and read by rosbags."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtok_ros.errors import ConfigError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

# Version of metadata.yaml that Jazzy and later read.
_BAG_VERSION = 9


@dataclass(frozen=True)
class BagMessage:
    """One message of a bag.

    Attributes:
        topic: resolved name.
        message_type: such as 'sensor_msgs/msg/Image'.
        time_ns: when it was received.
        data: serialised (CDR).
    """

    topic: str
    message_type: str
    time_ns: int
    data: bytes


def standard_types() -> 'Typestore':
    """Return the message types of ROS 2 Jazzy."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def register_types(typestore: 'Typestore', package: str, folder: Path) -> None:
    """Add the message types of a package to a store.

    Args:
        typestore: is changed.
        package: name of the package.
        folder: where its .msg files are.
    Raises:
        ConfigError: there are none.
    """
    from rosbags.typesys import get_types_from_msg

    files = sorted(folder.glob('*.msg'))
    if not files:
        raise ConfigError(f'no message definitions of {package}', expected=f'{folder}/*.msg',
                          fix='run make setup, or colcon build')
    found: dict = {}
    for file in files:
        found.update(get_types_from_msg(file.read_text(encoding='utf-8'),
                                        f'{package}/msg/{file.stem}'))
    typestore.register(found)


class BagWriter:
    """Writes serialised messages; a topic is added with its first one.

    Args:
        path: folder of the bag, which must not exist yet.
        typestore: knows all types that will be written; their definitions go into the bag.
        latched: topics that a player must offer to late subscribers.
    """

    def __init__(self, path: Path, typestore: 'Typestore', latched: Sequence[str] = ()) -> None:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
        from rosbags.rosbag2.errors import WriterError

        try:
            self._writer: Writer = Writer(path, version=_BAG_VERSION,
                                          storage_plugin=StoragePlugin.MCAP)
        except WriterError as error:
            raise ConfigError('bag cannot be written', got=_plain(error),
                              fix='name another folder, or remove this one') from error
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._typestore = typestore
        self._latched = frozenset(latched)
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, message_type: str, time_ns: int, data: bytes) -> None:
        """Add a serialised message."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, message_type, typestore=self._typestore,
                offered_qos_profiles=[_qos(topic in self._latched)])
        self._writer.write(self._connections[topic], time_ns, data)

    def write_record(self, topic: str, time_ns: int, record: Any) -> None:
        """Add a message of the type store's own classes."""
        kind = record.__msgtype__
        self.write(topic, kind, time_ns, bytes(self._typestore.serialize_cdr(record, kind)))

    def __enter__(self) -> 'BagWriter':
        """Open the bag."""
        self._writer.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the bag; after an exception, without its index."""
        self._writer.__exit__(*exception)


@contextmanager
def open_bag(path: Path) -> Iterator['BagReader']:
    """Open a bag for reading.

    Raises:
        ConfigError: there is no bag, or it is damaged.
    """
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.rosbag2.errors import ReaderError

    if not path.is_dir():
        raise ConfigError(f'there is no bag {path}', fix='check the spelling, or make one with '
                          'samtok make-bag --out DIR')
    try:
        with AnyReader([path]) as reader:
            yield BagReader(reader)
    except (AnyReaderError, ReaderError) as error:
        raise ConfigError(f'bag {path} cannot be read', got=_plain(error),
                          fix='copy it again, all files of it') from error


class BagReader:
    """The messages of an open bag."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    @property
    def topics(self) -> Mapping[str, str]:
        """Message type by topic."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    def messages(self, *topics: str) -> Iterator[BagMessage]:
        """Yield messages in the order of their times, of some topics or of all."""
        wanted = [c for c in self._reader.connections if not topics or c.topic in topics]
        if not wanted:
            return
        for connection, time_ns, data in self._reader.messages(connections=wanted):
            yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(data))

    def record(self, message: BagMessage) -> Any:
        """Return a message as an object, by the definition that is in the bag.

        Raises:
            ConfigError: its bytes do not fit the definition.
        """
        from rosbags.highlevel import AnyReaderError

        try:
            return self._reader.deserialize(message.data, message.message_type)
        except (AnyReaderError, ValueError, IndexError) as error:
            raise ConfigError(f'message on {message.topic} is damaged', got=_plain(error),
                              fix='copy the bag again') from error


def stamp_of(record: Any) -> int:
    """Return the stamp of a message object in nanoseconds."""
    return record.header.stamp.sec * 1_000_000_000 + record.header.stamp.nanosec


def _plain(error: Exception) -> str:
    return str(error).rstrip('.')


def _qos(latched: bool) -> Any:
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    # What a recorder notes down for "no deadline, no lifespan, no lease".
    forever = QosTime(9223372036, 854775807)
    return Qos(QosHistory.KEEP_LAST, 1 if latched else 10, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE, forever,
               forever, QosLiveliness.AUTOMATIC, forever, False)
