# SPDX-License-Identifier: Apache-2.0
"""One-slot mailbox and every-item queue."""

import threading

import pytest

from samtok_ros.runtime.mailbox import EveryItemQueue, Mailbox, NewestItems


@pytest.mark.parametrize('inbox', [Mailbox(), EveryItemQueue(3)], ids=['mailbox', 'queue'])
def test_inbox_when_one_item_is_put_then_it_is_seen_taken_and_gone(inbox):
    assert (inbox.peek(), inbox.take(), len(inbox)) == (None, None, 0)
    assert inbox.put('a')
    assert (inbox.peek(), len(inbox)) == ('a', 1)
    assert inbox.take() == 'a'
    assert (inbox.take(), inbox.lost) == (None, 0)
    inbox.put('b')
    inbox.clear()
    assert (inbox.take(), inbox.lost) == (None, 0)


def test_mailbox_when_items_come_faster_than_they_go_then_the_newest_stays_and_is_counted():
    mailbox = Mailbox()
    assert [mailbox.put(item) for item in 'abc'] == [True, False, False]
    assert (len(mailbox), mailbox.lost) == (1, 2)
    assert mailbox.take() == 'c'


def test_queue_when_full_then_the_new_item_is_lost_and_counted():
    queue = EveryItemQueue(2)
    assert [queue.put(item) for item in 'abc'] == [True, True, False]
    assert queue.lost == 1
    assert [queue.take() for _ in range(3)] == ['a', 'b', None]


def test_mailbox_when_put_and_taken_by_two_threads_then_nothing_is_lost_uncounted():
    mailbox, taken = Mailbox(), []
    done = threading.Event()

    def take():
        while not done.is_set() or len(mailbox):
            item = mailbox.take()
            if item is not None:
                taken.append(item)

    thread = threading.Thread(target=take)
    thread.start()
    for item in range(1, 5001):
        mailbox.put(item)
    done.set()
    thread.join()
    assert taken == sorted(taken)
    assert len(taken) + mailbox.lost == 5000


def test_newest_items_when_full_then_the_oldest_is_lost_and_counted():
    items = NewestItems(2)
    assert items.put('a') and items.put('b')
    assert not items.put('c')
    assert (items.lost, len(items), items.peek()) == (1, 2, 'b')
    assert [items.take(), items.take(), items.take()] == ['b', 'c', None]
    items.put('d')
    items.clear()
    assert items.peek() is None and items.lost == 1
