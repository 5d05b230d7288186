# SPDX-License-Identifier: Apache-2.0
"""One instruction about a scene and what a perfect model answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from samtok_ros.training.texts import Text, spans_in, spans_of_codes, write
from samtok_ros.words.vocabulary import MaskVocabulary


@dataclass(frozen=True)
class Question:
    """An instruction with its true answer; mask words come in when codes are known.

    Attributes:
        family: kind of task, see questions.MIX.
        kind: finer, for reports, such as 'colour shape', 'leftmost', 'no relation'.
        instruction: what is asked.
        reply: what is answered.
        phrase: the referring expression without article, '' where there is none.
        earlier: instructions and replies of the rounds before, oldest first.
    """

    family: str
    kind: str
    instruction: Text
    reply: Text
    phrase: str = ''
    earlier: tuple[tuple[Text, Text], ...] = ()

    @property
    def targets(self) -> tuple[int, ...]:
        """Ids of the objects whose mask words the answer holds, in its order."""
        return spans_in(self.reply)

    @property
    def regions(self) -> tuple[int, ...]:
        """Ids of the objects whose mask words the instruction holds, in its order."""
        return spans_in(self.instruction)

    def answer(self, codes: Mapping[int, Sequence[int]], vocabulary: MaskVocabulary) -> str:
        """Write the answer with mask words.

        Args:
            codes: by object id, the D codes of its mask.
            vocabulary: of the model.
        """
        return write(self.reply, spans_of_codes(codes, self.targets, vocabulary))

    def filled_instruction(
        self, codes: Mapping[int, Sequence[int]], vocabulary: MaskVocabulary,
    ) -> str:
        """Write the instruction with mask words."""
        return write(self.instruction, spans_of_codes(codes, self.regions, vocabulary))
