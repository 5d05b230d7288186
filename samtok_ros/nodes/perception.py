# SPDX-License-Identifier: Apache-2.0
"""Both nodes in one process: images come in once, are embedded once, and stay where they are."""

from samtok_ros.nodes.grounding import GroundingNode
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.mask_tokenizer import MaskTokenizerNode
from samtok_ros.nodes.spin import run
from samtok_ros.runtime.shared import SharedRuntime


def make_nodes() -> list[PerceptionNode]:
    """Create both nodes around one cache and one worker."""
    runtime = SharedRuntime()
    # The one with the images comes last, so that with autostart the other is ready before them.
    return [MaskTokenizerNode(runtime, takes_images=False), GroundingNode(runtime)]


def main() -> int:
    """Run the nodes until they are told to stop; return the exit status."""
    return run(make_nodes)
