# SPDX-License-Identifier: Apache-2.0
"""Words for things on the table, and which things they are true of, with margins.

A statement about places is 'true', 'false' or 'unclear': what a person could argue about is never
asked.
"""

from dataclasses import dataclass
from enum import Enum

SHAPE_PLURALS = {
    'box': 'boxes', 'ball': 'balls', 'cylinder': 'cylinders', 'cone': 'cones', 'mug': 'mugs',
    'bowl': 'bowls', 'bottle': 'bottles', 'ring': 'rings',
}
COLOUR_WORDS = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black')
SIZE_WORDS = ('small', 'large')
ANYTHING = 'object'

SIDE_MARGIN = 0.06
"""Least difference of two centres, as a fraction of the image width, to be left or right."""

DEPTH_MARGIN_M = 0.05
"""Least difference of two depths, in metres, to be in front or behind."""


class Truth(Enum):
    """Outcome of a statement about two things."""

    TRUE = 1
    FALSE = 0
    UNCLEAR = -1


@dataclass(frozen=True)
class Descriptor:
    """Size, colour and shape that are asked for; None = any."""

    size: str | None = None
    colour: str | None = None
    shape: str | None = None

    def matches(self, thing) -> bool:
        """Say whether a SceneObject has everything that is asked for."""
        return ((self.size is None or thing.size == self.size)
                and (self.colour is None or thing.colour == self.colour)
                and (self.shape is None or thing.shape == self.shape))

    def among(self, things) -> list:
        """Return the things that match."""
        return [thing for thing in things if self.matches(thing)]

    def words(self, plural: bool = False) -> str:
        """Write it as a noun phrase without article, such as 'large red mug'."""
        noun = self.shape or ANYTHING
        if plural:
            noun = SHAPE_PLURALS.get(noun, ANYTHING + 's')
        return ' '.join(word for word in (self.size, self.colour, noun) if word)


SUPERLATIVES = ('leftmost', 'rightmost', 'nearest', 'farthest')
RELATIONS = ('left of', 'right of', 'in front of', 'behind')
RELATION_WORDS = {
    'left of': ('left of', 'to the left of'),
    'right of': ('right of', 'to the right of'),
    'in front of': ('in front of',),
    'behind': ('behind',),
}


def superlative(word: str, things: list):
    """Return the one thing a superlative names, or None when two compete.

    Args:
        word: one of SUPERLATIVES.
        things: at least one SceneObject.
    """
    sideways = word in ('leftmost', 'rightmost')
    sign = 1 if word in ('leftmost', 'nearest') else -1
    margin = SIDE_MARGIN if sideways else DEPTH_MARGIN_M
    ranked = sorted((sign * (t.centre_xy[0] if sideways else t.depth_m), t.object_id, t)
                    for t in things)
    if len(ranked) > 1 and ranked[1][0] - ranked[0][0] < margin:
        return None
    return ranked[0][2]


def holds(relation: str, thing, anchor) -> Truth:
    """Say whether `thing` stands in a relation to `anchor`, as the camera sees them."""
    if relation in ('left of', 'right of'):
        difference, margin = thing.centre_xy[0] - anchor.centre_xy[0], SIDE_MARGIN
    else:
        difference, margin = thing.depth_m - anchor.depth_m, DEPTH_MARGIN_M
    if relation in ('left of', 'in front of'):
        difference = -difference
    if abs(difference) < margin:
        return Truth.UNCLEAR
    return Truth.TRUE if difference > 0 else Truth.FALSE


def related(relation: str, descriptor: Descriptor, anchor, things) -> list | None:
    """Return the things that match and stand in the relation; None when one of them is unclear."""
    found = []
    for thing in descriptor.among(things):
        if thing is anchor:
            continue
        truth = holds(relation, thing, anchor)
        if truth is Truth.UNCLEAR:
            return None
        if truth is Truth.TRUE:
            found.append(thing)
    return found
