# SPDX-License-Identifier: Apache-2.0
"""`samtok goal`: sets the standing goal of running nodes and prints the first answer."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from samtok_ros.cli.answers import answer_json, answer_text
from samtok_ros.cli.files import check_picture_path, save_picture
from samtok_ros.cli.options import allow_any_order, seconds
from samtok_ros.cli.ros import add_namespace, load_ros_part, note
from samtok_ros.errors import ConfigError


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'goal', help='say to running nodes what to look for',
        description='Set the standing goal of nodes that run already, such as those of samtok up, '
        'wait for the first complete answer and print it. The goal holds on: see the later answers '
        'with samtok watch, end it with --clear.')
    parser.add_argument('goal', metavar='GOAL', nargs='?', help='such as "the red mug"')
    parser.add_argument('--clear', action='store_true', help='end the standing goal')
    add_namespace(parser)
    parser.add_argument('--wait', type=seconds, default=60.0, metavar='SECONDS',
                        help='give up after that time (default: %(default)g)')
    parser.add_argument('--out', type=Path, metavar='PICTURE',
                        help='write the image with the regions drawn in')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)
    allow_any_order(parser)


def run(arguments: argparse.Namespace) -> None:
    """Set the goal or clear it.

    Raises:
        SamtokError: nobody is there, a node is not active, no image or no answer came in time.
    """
    if arguments.clear == (arguments.goal is not None):
        raise ConfigError('a goal or --clear is needed', got='both' if arguments.clear else 'none',
                          fix='say samtok goal "the red mug", or samtok goal --clear')
    check_picture_path(arguments.out)
    client = load_ros_part('goal_client')
    if arguments.clear:
        client.clear_goal(arguments.namespace, arguments.wait, note)
        print('no goal stands now')
        return
    # Bytes that are no UTF-8 come as surrogates, which no message takes.
    text = os.fsencode(arguments.goal).decode(errors='replace')
    reply = client.ask_goal(arguments.namespace, text, arguments.wait, note,
                            with_picture=arguments.out is not None)
    if arguments.out is not None:
        save_picture(arguments.out, reply.picture_rgb)
    print(_json(text, reply) if arguments.json else _text(reply, arguments.out))


# A reply is a samtok_ros.nodes.goal_client.Reply, which cannot be named here: it needs ROS.

def _text(reply: Any, out: Path | None) -> str:
    from samtok_ros.words.answers import PUBLISHED

    lines = [answer_text(reply.answer, PUBLISHED), f'the image was {reply.age_s:.2f} s old']
    if out is not None and reply.picture_later_s:
        # The answer was overtaken by images in which its regions were followed.
        lines.append(f'{out} shows an image that is {reply.picture_later_s:.2f} s newer')
    return '\n'.join(lines)


def _json(text: str, reply: Any) -> str:
    from samtok_ros.words.answers import PUBLISHED

    answer = json.loads(answer_json(reply.answer, PUBLISHED, reply.tokenizer_id))
    return json.dumps({
        'goal': text, 'goal_id': reply.goal_id, 'status': reply.status.name,
        'stamp_ns': reply.stamp_ns, 'frame_id': reply.frame_id, 'age_s': round(reply.age_s, 3),
        **answer}, indent=2, ensure_ascii=False)
