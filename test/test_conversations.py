# SPDX-License-Identifier: Apache-2.0
"""Rounds that are remembered, and for how long."""

from samtok_ros.language.instructions import Round
from samtok_ros.runtime.conversations import Conversations


def make(conversations=3, rounds=2):
    made = Conversations()
    made.resize(conversations, rounds)
    return made


def say(conversations, key, text):
    _, epoch = conversations.history(key)
    conversations.add(key, Round((text,), f'{text}!'), epoch)


def texts(conversations, key):
    return [one.instruction[0] for one in conversations.history(key)[0]]


def test_rounds_when_more_than_fit_then_the_newest_stay_in_order():
    kept = make(rounds=2)
    for text in ('a', 'b', 'c'):
        say(kept, ('talk', 5), text)
    assert texts(kept, ('talk', 5)) == ['b', 'c']


def test_rounds_when_name_or_frame_differ_then_they_are_apart():
    kept = make()
    say(kept, ('talk', 5), 'a')
    assert texts(kept, ('talk', 6)) == []
    assert texts(kept, ('other', 5)) == []


def test_round_when_it_has_no_name_then_it_is_not_kept():
    kept = make()
    say(kept, ('', 5), 'a')
    assert len(kept) == 0


def test_conversations_when_too_many_then_the_one_unused_for_longest_goes():
    kept = make(conversations=2)
    for name in ('a', 'b', 'a', 'c'):
        say(kept, (name, 5), 'x')
    assert (texts(kept, ('a', 5)), texts(kept, ('b', 5))) == (['x', 'x'], [])
    assert len(kept) == 2


def test_round_when_all_was_forgotten_while_it_was_answered_then_it_is_not_kept():
    kept = make()
    say(kept, ('a', 5), 'x')
    _, epoch = kept.history(('a', 5))
    assert kept.forget() == 1
    kept.add(('a', 5), Round(('y',), 'y!'), epoch)
    assert len(kept) == 0
    say(kept, ('a', 5), 'z')
    assert texts(kept, ('a', 5)) == ['z']
