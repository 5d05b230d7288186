# SPDX-License-Identifier: Apache-2.0
"""Free greedy generation during training, many questions at once, scored against the truth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from samtok_ros.masks.scores import iou
from samtok_ros.training.fast_forward import TextGroup, text_hidden_states
from samtok_ros.training.question import Question
from samtok_ros.training.question_writer import QuestionWriter
from samtok_ros.training.questions import MIX, sample_questions
from samtok_ros.training.scene_tasks import TASKS
from samtok_ros.training.texts import write
from samtok_ros.training.vlm_learner import VlmLearner
from samtok_ros.words.answers import NO_TARGET, parse_mask_list
from samtok_ros.words.span_parser import SpanParser

DecodeMasks = Callable[[int, np.ndarray], np.ndarray]
"""Scene index and (N, D) codes to (N, H, W) bool masks."""


@dataclass(frozen=True)
class ValidationScenes:
    """Scenes never trained on.

    Attributes:
        images: (S, 224, 320, 3) uint8.
        segmentations: S arrays (H, W) uint8 of object ids.
        descriptions: S SceneDescriptions.
        codes: (S, 13, D) true codes, for regions in questions.
        decode: draws masks from codes.
    """

    images: np.ndarray
    segmentations: Sequence[np.ndarray]
    descriptions: Sequence
    codes: np.ndarray
    decode: DecodeMasks


@torch.no_grad()
def generate_greedily(learner: VlmLearner, images: torch.Tensor, prompts: list[list[list[int]]],
                      pad_id: int, end_id: int, most_tokens: int = 64) -> list[list[list[int]]]:
    """Answer the same number of questions on each of B images.

    Args:
        learner: the model.
        images: (B, 224, 320, 3) uint8.
        prompts: B lists of Q prompts, token ids from behind the image.
        pad_id: of the text tokenizer.
        end_id: token that ends an answer.
        most_tokens: where to cut answers off.
    Returns:
        B lists of Q answers without the end-of-turn token.
    """
    batch, count = len(prompts), len(prompts[0])
    device = images.device
    lengths = torch.tensor([[len(p) for p in row] for row in prompts], device=device)
    tokens = torch.full((batch, count, int(lengths.max()) + most_tokens), pad_id, device=device)
    for image, row in enumerate(prompts):
        for number, prompt in enumerate(row):
            tokens[image, number, :len(prompt)] = torch.tensor(prompt, device=device)
    prefix, positions, _ = learner.prefix(images)
    table = learner.model.get_input_embeddings().weight
    ends = lengths.clone()
    open_ = torch.ones_like(ends, dtype=torch.bool)
    for _ in range(most_tokens):
        used = tokens[..., :int(ends.max())]
        hidden = text_hidden_states(learner.model.model.language_model, prefix, positions,
                                    [TextGroup(used)]).hidden[0]
        last = torch.gather(hidden, 2, (ends - 1)[..., None, None].expand(-1, -1, 1,
                                                                           hidden.shape[-1]))
        chosen = (last[:, :, 0].float() @ table.T).argmax(-1)
        open_ &= chosen != end_id
        if not open_.any():
            break
        spot = torch.where(open_, ends, ends - 1)[..., None]
        kept = torch.gather(tokens, 2, spot)
        tokens.scatter_(2, spot, torch.where(open_[..., None], chosen[..., None], kept))
        ends = ends + open_
    return [[tokens[i, q, lengths[i, q]:ends[i, q]].tolist() for q in range(count)]
            for i in range(batch)]


def validate(learner: VlmLearner, writer: QuestionWriter, scenes: ValidationScenes,
             per_image: int = 8, autocast: bool = True, chunk: int = 16) -> dict[str, float]:
    """Ask `per_image` questions on every scene and score the answers.

    Returns:
        grounding_giou, grounding_iou50, no_target_recall, false_refusal, region_qa, and the mean
        IoU of each kind of single-target goal; for each further task `text_`, the share of answers
        that are right but for their mask words, and `iou_`, how well these draw what they should.
    """
    scores: dict[str, list[float]] = {}
    # Long answers apart from short ones, which would have to wait for them.
    for mix, count, most_tokens in ((MIX, per_image, 64), (dict.fromkeys(TASKS, 1.0), 4, 128)):
        _ask(learner, writer, scenes, _Round(mix, count, most_tokens, chunk, autocast), scores)
    return {name: float(np.mean(values)) for name, values in sorted(scores.items())}


@dataclass(frozen=True)
class _Round:
    mix: Mapping[str, float]
    count: int
    most_tokens: int
    chunk: int
    autocast: bool


def _ask(learner: VlmLearner, writer: QuestionWriter, scenes: ValidationScenes, how: _Round,
         scores: dict[str, list[float]]) -> None:
    device, chunk = next(learner.parameters()).device, how.chunk
    for start in range(0, len(scenes.images), chunk):
        numbers = range(start, min(start + chunk, len(scenes.images)))
        questions = [sample_questions(scenes.descriptions[i], [7, i], how.count, how.mix)
                     for i in numbers]
        prompts = [[writer.prompt_ids(q, scenes.codes[i]) for q in row]
                   for i, row in zip(numbers, questions, strict=True)]
        images = torch.from_numpy(np.stack([scenes.images[i] for i in numbers])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=how.autocast):
            answers = generate_greedily(learner, images, prompts, writer.pad_id, writer.end_id,
                                        how.most_tokens)
        for i, row, replies in zip(numbers, questions, answers, strict=True):
            for question, ids in zip(row, replies, strict=True):
                score = _score if question.family in MIX else _score_task
                score(question, writer.text(ids), i, scenes, writer, scores)


def _score(question: Question, text: str, index: int, scenes: ValidationScenes,
           writer: QuestionWriter, scores: dict[str, list[float]]) -> None:
    def add(name: str, value: float) -> None:
        scores.setdefault(name, []).append(float(value))

    refused = text.strip() == NO_TARGET
    if question.family == 'region':
        right = text.strip() == write(question.reply, {})
        add('region_qa', right)
        add(f'region_{question.kind.split()[0]}', right)
        return
    if question.family == 'none':
        add('no_target_recall', refused)
        return
    add('false_refusal', refused)
    items = [] if refused else parse_mask_list(text, writer.vocabulary)
    truth = np.isin(scenes.segmentations[index], question.targets)
    shape = truth.shape
    masks = (scenes.decode(index, np.array([item.codes for item in items])) if items
             else np.zeros((1, *shape), bool))
    found = masks.any(0)
    iou = (found & truth).sum() / max((found | truth).sum(), 1)
    if question.family == 'single':
        add('grounding_giou', iou)
        add('grounding_iou50', iou > 0.5)
        add('iou_' + question.kind.replace(' ', '_'), iou)
    else:
        add('several_giou', iou)
        add('several_count', len(items) == len(question.targets))


def _score_task(question: Question, text: str, index: int, scenes: ValidationScenes,
                writer: QuestionWriter, scores: dict[str, list[float]]) -> None:
    name = question.family.replace(' ', '_')
    spans = SpanParser(writer.vocabulary).parse(text).spans
    wordless = ''.join(_between(text, spans))
    expected = write(question.reply, dict.fromkeys(question.targets, ''))
    scores.setdefault(f'text_{name}', []).append(float(wordless.strip() == expected))
    if not question.targets:
        return
    ious = [0.0] * len(question.targets)
    if spans:
        masks = scenes.decode(index, np.array([span.codes for span in spans]))
        for place, (target, mask) in enumerate(zip(question.targets, masks, strict=False)):
            ious[place] = iou(mask, scenes.segmentations[index] == target)
    scores.setdefault(f'iou_{name}', []).append(float(np.mean(ious)))


def _between(text: str, spans: Sequence) -> Iterator[str]:
    end = 0
    for span in spans:
        yield text[end:span.start]
        end = span.end
    yield text[end:]
