# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning of mask generation on rendered scenes: GRPO through trl.

Source: samtok-spec 5.3; differs, beside sizes: advantages are not divided by the spread of their
group and answers are not weighted by their length (Liu et al. 2025, arXiv 2503.20783), and there is
no KL term by default.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.comparison import table
from samtok_ros.language.checkpoint import load_model
from samtok_ros.reinforcement.data import PromptSource, prompt_dataset
from samtok_ros.reinforcement.judge import MaskJudge
from samtok_ros.reinforcement.policy import Policy
from samtok_ros.reinforcement.prompts import GOALS, ScenePrompt
from samtok_ros.reinforcement.sampling import load_policy, spoken_texts
from samtok_ros.reinforcement.task_rewards import MATCHES, textual_reward
from samtok_ros.reinforcement.validation import HeldOutGoals, mean_values
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.training.runs import RunDirectory
from samtok_ros.training.scene_images import Scenes
from samtok_ros.training.vlm_data import encode_scenes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

REWARDS = (*MATCHES, 'iou')
_LOGGED = {'reward': 'reward', 'reward_std': 'reward_std', 'entropy': 'entropy', 'kl': 'kl',
           'grad_norm': 'norm', 'frac_reward_zero_std': 'equal_groups',
           'completions/mean_length': 'answer_tokens'}


_CLOCK = 'clock.pt'
_FREE = ('steps', 'save_every', 'validate_every', 'validation_prompts', 'compared_prompts')
"""Settings that may change from one call to the next."""


@dataclass(frozen=True)
class ReinforcementConfig:
    """Recipe of the reinforcement learning.

    Attributes:
        reward: 'exact' or 'graded' compare mask words, as published; 'iou' compares the mask that
            they draw, which is ours.
        mix: families of prompts with their shares.
        prompts: of one step.
        answers: drawn for each prompt, the size of a group.
        steps: of the optimiser.
        learning_rate: of AdamW; falls to 0 until the last step.
        kl: weight of the divergence from the start; above 0 it costs another model in memory.
        most_tokens: longest answer.
        save_every, validate_every: steps between checkpoints, and between validations.
        validation_prompts: goals of a validation.
        compared_prompts: goals on which the result is compared with the start; 0 = no
            comparison.
        seed: of prompts and answers.
    """

    reward: str = 'iou'
    mix: Mapping[str, float] = field(default_factory=lambda: dict(GOALS))
    prompts: int = 8
    answers: int = 8
    steps: int = 120
    learning_rate: float = 1e-4
    kl: float = 0.0
    most_tokens: int = 160
    save_every: int = 20
    validate_every: int = 40
    validation_prompts: int = 160
    compared_prompts: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse rewards that nobody knows.

        Raises:
            ConfigError: there is no such reward.
        """
        if self.reward not in REWARDS:
            raise ConfigError('unknown reward', expected=' or '.join(REWARDS), got=self.reward)


@dataclass(frozen=True)
class ReinforcementInputs:
    """What a run reads and where it writes.

    Attributes:
        model_dir: finished model to start from, mask tokenizer included.
        scenes: to draw prompts from.
        run_dir: checkpoints, curves and the result in `out/`.
        validation: held-out scenes for the validation curve, None = none.
    """

    model_dir: Path
    scenes: Scenes
    run_dir: Path
    validation: Scenes | None = None


def train_grpo(inputs: ReinforcementInputs, config: ReinforcementConfig) -> Path:
    """Train and export, or go on where an earlier call was stopped.

    With validation scenes, the result is compared with the start in `comparison.json`.

    Returns:
        the folder of the finished model.
    Raises:
        CheckpointError: the model cannot be read.
        ConfigError: the model is of another kind, or the run was begun with other settings.
    """
    run = RunDirectory(inputs.run_dir)
    run.load(_CLOCK)
    _check_settings(run.path / 'settings.json', config)
    tokenizer = MaskTokenizer.load(inputs.model_dir)
    codes = encode_scenes(tokenizer, inputs.scenes, run.path / 'codes.npy',
                          lambda done: logger.info('masks of %d scenes encoded', done))
    source = PromptSource(inputs.scenes, codes, config.mix, config.seed)
    judge = MaskJudge(inputs.scenes, tokenizer)
    policy, processor = load_policy(inputs.model_dir)
    trainer = GRPOTrainer(
        model=policy, reward_funcs=_reward(config, judge, processor.tokenizer),
        args=_trainer_config(run.path, config),
        train_dataset=prompt_dataset(source, config.steps * config.prompts),
        processing_class=processor)
    check = (HeldOutGoals(inputs.validation, tokenizer, config.seed, config.most_tokens)
             if inputs.validation else None)
    trainer.remove_callback(PrinterCallback)  # the curves say it
    trainer.add_callback(_Curves(run, config, check and (
        lambda: mean_values(check.values(policy, processor, config.validation_prompts)))))
    trainer.train(resume_from_checkpoint=last_checkpoint(run.path))
    out = export_policy(policy, inputs.model_dir, run.path / 'out')
    if check and config.compared_prompts:
        differences = check.compare(inputs.model_dir, out, config.compared_prompts)
        (run.path / 'comparison.json').write_text(
            json.dumps([asdict(one) for one in differences], indent=1) + '\n', encoding='utf-8')
        logger.info('start and result on held-out goals:\n%s', table(differences))
    return out


def _check_settings(path: Path, config: ReinforcementConfig) -> None:
    """Write the settings down, or compare them with those that the run was begun with."""
    wanted = {name: value for name, value in asdict(config).items() if name not in _FREE}
    if not path.exists():
        path.write_text(json.dumps(wanted, indent=1) + '\n', encoding='utf-8')
        return
    found = json.loads(path.read_text(encoding='utf-8'))
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        raise ConfigError(f'{path.parent} was begun with other settings',
                          expected={name: found.get(name) for name in other},
                          got={name: wanted[name] for name in other},
                          fix='name another folder, or give the settings of before')


def _trainer_config(run_dir: Path, config: ReinforcementConfig) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(run_dir), max_steps=config.steps, seed=config.seed, use_cpu=True,
        per_device_train_batch_size=config.prompts * config.answers,
        num_generations=config.answers, max_completion_length=config.most_tokens,
        learning_rate=config.learning_rate, lr_scheduler_type='linear', warmup_steps=5,
        adam_beta2=0.98, beta=config.kl, loss_type='dr_grpo', scale_rewards='none',
        temperature=1.0, bf16=False, gradient_checkpointing=False, shuffle_dataset=False,
        save_steps=config.save_every, save_total_limit=2, logging_steps=1, report_to=[],
        disable_tqdm=True, log_multimodal=False)


def _reward(config: ReinforcementConfig, judge: MaskJudge, tokenizer: 'PreTrainedTokenizerBase',
            ) -> Callable[..., list[float]]:
    """Return the reward as trl calls it: once for all answers of a step."""
    def reward(completion_ids: list[list[int]], scene_prompt: list[ScenePrompt], **_,
               ) -> list[float]:
        # The texts of trl lack the marks around phrases, which are special tokens.
        answers = spoken_texts(tokenizer, completion_ids)
        if config.reward != 'iou':
            return [textual_reward(prompt, answer, config.reward)
                    for prompt, answer in zip(scene_prompt, answers, strict=True)]
        rewards = []
        for start in range(0, len(answers), config.answers):
            rewards += judge.scores(scene_prompt[start], answers[start:start + config.answers])
        return rewards

    return reward


def last_checkpoint(run_dir: Path) -> str | None:
    """Return the newest whole checkpoint of a run; the trainer writes its state last."""
    for path in sorted(run_dir.glob('checkpoint-*'), reverse=True,
                       key=lambda path: int(path.name.rpartition('-')[2])):
        try:
            json.loads((path / 'trainer_state.json').read_text(encoding='utf-8'))
        except (OSError, json.JSONDecodeError):
            shutil.rmtree(path)  # a kill cut it short
        else:
            return str(path)
    return None


def export_policy(policy: Policy, start_dir: Path, out_dir: Path, dtype: str = 'float16') -> Path:
    """Write a model directory like the one it was started from, with the weights of the policy."""
    model = load_model(start_dir, getattr(torch, dtype))
    model.load_state_dict(policy.state_dict())
    shutil.copytree(start_dir, out_dir, dirs_exist_ok=True)
    model.save_pretrained(out_dir)
    return out_dir


class _Curves(TrainerCallback):
    """Writes the curves, and validates now and then."""

    def __init__(self, run: RunDirectory, config: ReinforcementConfig,
                 check: Callable[[], dict[str, float]] | None):
        self._run = run
        self._config = config
        self._check = check

    def on_train_begin(self, args, state, control, **kwargs):
        """Measure the start."""
        if state.global_step == 0:
            self._validate(0)

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Write a line of the curves."""
        values = {name: float(logs[key]) for key, name in _LOGGED.items() if key in logs}
        if 'reward' in values:
            self._run.log(state.global_step, **values)

    def on_save(self, args, state, control, **kwargs):
        """Keep the used time, which the trainer's checkpoints leave out."""
        self._run.save({'step': state.global_step}, _CLOCK)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """Validate where it is due."""
        if state.global_step % self._config.validate_every == 0 or (
                state.global_step == self._config.steps):
            self._validate(state.global_step)
            model.train()

    def _validate(self, step: int) -> None:
        if self._check is None:
            return
        figures = {f'val_{name}': value for name, value in self._check().items()}
        self._run.log(step, **figures)
        logger.info('validation at step %d: %s', step, figures)
