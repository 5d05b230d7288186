# SPDX-License-Identifier: Apache-2.0
"""SAM2's streaming memory: agreement with its own video predictor, and what is kept.

The weights are made up, so nothing here says how well it follows.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import SMALL

from samtok_ros.errors import CheckpointError, ConfigError
from samtok_ros.evaluation.synthetic_network import synthetic_weight
from samtok_ros.masks.boxes import with_mask
from samtok_ros.regions import Region
from samtok_ros.runtime.backend import make_backend
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.torch_backend import TorchBackend
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.settings.shared import FakeSettings, ModelSettings
from samtok_ros.tokenizer.checkpoint import save_network
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.video_memory import VIDEO_PARTS, add_video_memory_
from samtok_ros.tokenizer.video_tracker import PUBLISHED_OPTIONS, VideoTracker
from samtok_ros.tracking.policies import make_policy
from samtok_ros.tracking.tracker import Tracker

# Pointers of an object are cut into pieces as wide as a memory, which is 64 wide.
CONFIG = replace(SMALL, latent_dim=128)
SIDE = CONFIG.image_size
FRAMES = 20


def tokenizer_with_memory(config=CONFIG):
    network = MaskTokenizerNetwork(config)
    add_video_memory_(network.sam, config)
    network.load_state_dict({
        name: torch.from_numpy(synthetic_weight(name, tuple(value.shape)))
        for name, value in network.state_dict().items()})
    return MaskTokenizer(network.eval().requires_grad_(False), 'small@1')


@pytest.fixture(scope='module')
def tokenizer():
    return tokenizer_with_memory()


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """Folder of JPEG files, as the predictor reads them, and the same images."""
    folder = tmp_path_factory.mktemp('video')
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    images = []
    for number in range(FRAMES):
        disc = (x - 16 - number) ** 2 + (y - 32) ** 2 < 100
        image = np.where(disc[..., None], np.array([200, 40, 40]), np.array([60, 90, 120]))
        image = image + np.random.default_rng(number).integers(0, 40, image.shape)
        path = folder / f'{number:03}.jpg'
        Image.fromarray(image.astype(np.uint8)).save(path, quality=95)
        images.append(np.asarray(Image.open(path)))
    return folder, images, (x - 16) ** 2 + (y - 32) ** 2 < 100


def predictor_of(tokenizer):
    """SAM2's own video predictor around the same weights."""
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    sam = tokenizer.network.sam
    predictor = SAM2VideoPredictor(
        image_encoder=sam.image_encoder, memory_attention=sam.memory_attention,
        memory_encoder=sam.memory_encoder, image_size=SIDE, **PUBLISHED_OPTIONS)
    for name in (*VIDEO_PARTS, 'sam_prompt_encoder', 'sam_mask_decoder', 'no_mem_embed'):
        setattr(predictor, name, getattr(sam, name))
    return predictor.eval()


def test_video_when_streamed_then_masks_are_those_of_sam2s_video_predictor(tokenizer, video):
    folder, images, mask = video
    predictor = predictor_of(tokenizer)
    state = predictor.init_state(str(folder))
    predictor.add_new_mask(state, 0, 1, mask)
    theirs = {}
    for number, _, _ in predictor.propagate_in_video(state):
        outputs = state['output_dict_per_obj'][0]
        theirs[number] = {**outputs['cond_frame_outputs'],
                          **outputs['non_cond_frame_outputs']}[number]
    ours = VideoTracker(tokenizer)
    memory = ours.start(tokenizer.embed_image(images[0]), mask)
    logits = []
    for number in range(1, FRAMES):
        found = ours.step(tokenizer.embed_image(images[number]), memory)
        expected = theirs[number]['pred_masks']
        assert torch.allclose(found.low_res_logits, expected, rtol=1e-3, atol=1e-3), number
        assert np.array_equal(found.mask, _enlarged(expected))
        logits.append(expected)
    # The weights say something: neither always nothing, nor always the same.
    assert logits[0].std() > 0
    assert not torch.equal(logits[0], logits[-1])


def test_memory_when_images_go_on_then_it_stays_as_it_is(tokenizer, video):
    _, images, mask = video
    ours = VideoTracker(tokenizer)
    memory = ours.start(tokenizer.embed_image(images[0]), mask)
    sizes = []
    for number in range(3 * FRAMES):
        ours.step(tokenizer.embed_image(images[number % FRAMES]), memory)
        sizes.append(memory.nbytes)
    # Seven images with what was seen in them, sixteen with a pointer to the thing.
    assert len(set(sizes[16:])) == 1
    newest = memory.outputs['non_cond_frame_outputs']
    assert len(newest) == 16
    assert sum(output['maskmem_features'] is not None for output in newest.values()) == 7
    assert all(output['obj_ptr'].shape == (1, CONFIG.latent_dim) for output in newest.values())


def test_things_when_several_are_followed_then_they_do_not_touch_each_other(tokenizer, video):
    _, images, mask = video
    ours = VideoTracker(tokenizer)
    first = tokenizer.embed_image(images[0])

    def follow(masks):
        memories = [ours.start(first, one) for one in masks]
        return [[ours.step(tokenizer.embed_image(image), memory).low_res_logits
                 for memory in memories] for image in images[1:4]]

    alone = follow([mask])
    together = follow([mask, ~mask])
    for one, both in zip(alone, together, strict=True):
        assert torch.equal(one[0], both[0])
    assert not torch.equal(together[0][0], together[0][1])


def test_thing_when_sam2_says_that_it_is_not_there_then_its_mask_is_empty(tokenizer, video):
    _, images, mask = video
    ours = VideoTracker(tokenizer)
    memory = ours.start(tokenizer.embed_image(images[0]), mask)
    head = tokenizer.network.sam.sam_mask_decoder.pred_obj_score_head
    hook = head.register_forward_hook(lambda module, inputs, output: output * 0 - 5)
    try:
        found = ours.step(tokenizer.embed_image(images[1]), memory)
    finally:
        hook.remove()
    assert not found.mask.any()


def test_mask_tokenizer_when_it_has_no_video_memory_then_the_error_says_so():
    network = MaskTokenizerNetwork(CONFIG).eval()
    with pytest.raises(CheckpointError, match='no video memory'):
        VideoTracker(MaskTokenizer(network, 'small@1'))


@pytest.fixture(scope='module')
def model_dir(tmp_path_factory, tokenizer):
    """A small model directory with video memory, as published files have it."""
    directory = tmp_path_factory.mktemp('small')
    save_network(tokenizer.network, directory)
    return directory


def test_model_when_loaded_from_its_file_then_things_are_followed_by_its_memory(
        model_dir, video):
    _, images, mask = video
    loaded = TorchBackend(ModelSettings(name=str(model_dir), device='cpu')).load_masks(
        video_memory=True)
    frames = FrameCache(100, 10 ** 9)
    access = LocalMaskAccess(loaded, frames, Statistics())
    settings = TrackSettings(policy='memory', max_colour_change=255.0, max_area_change=1e6)
    tracker = Tracker(make_policy(settings, access), settings)
    shown = [Frame(number, 'camera', lambda image=image: image, 0)
             for number, image in enumerate(images, start=1)]
    region = with_mask(Region(1, (3, 4), 'disc', 0.5), mask, 0.9)
    (answered,) = tracker.anchor(shown[0], [region])
    streamed = VideoTracker(loaded.model)
    memory = streamed.start(access.features_of(shown[0]), mask)
    for frame in shown[1:6]:
        (found,) = tracker.follow(frame)
        expected = streamed.step(access.features_of(frame), memory)
        assert np.array_equal(found.mask, expected.mask)
        assert found.track_id == answered.track_id == 1
        # Its mask came from no words, unless it is lost: then those of the answer are told.
        assert found.codes == (() if expected.mask.any() else (3, 4))
    tracker.anchor(shown[6], [region])
    assert len(tracker.follow(shown[7])) == 1


@pytest.mark.parametrize('backend', ['torch', 'onnx', 'fake'])
def test_memory_when_the_model_has_none_then_the_error_names_what_it_can_do(backend):
    settings = ModelSettings(backend=backend, device='cpu')
    with pytest.raises(ConfigError, match='has no video memory of SAM 2: expected track.policy '
                                          'none, hold, redecode or reencode, got memory'):
        make_backend(settings, FakeSettings()).load_masks(video_memory=True)


def _enlarged(low_res_logits):
    large = torch.nn.functional.interpolate(low_res_logits, (SIDE, SIDE), mode='bilinear',
                                            align_corners=False)
    return (large[0, 0] > 0).numpy()
