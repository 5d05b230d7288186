# SPDX-License-Identifier: Apache-2.0
"""Every instruction by task, exact: the models were trained on these very strings.

The one table of wordings: what users ask, what the embedded model is trained on and what is
measured take their words from it. Errors of grammar and of typing in them are the published ones.
Fields in braces are filled in by `instructions.filled`; `tasks.py` says which task takes what.
"""

_REFERRING = (
    'Can you segment the {phrase} in this image?',
    'Please segment {phrase} in this image.',
    'What is {phrase} in this image? Please respond with segmentation mask.',
    'What is {phrase} in this image? Please output segmentation mask.',
    'Could you provide a segmentation mask for the {phrase} in this image?',
    'Please identify and segment the {phrase} in this image.',
    'Where is the {phrase} in this picture? Please respond with a segmentation mask.',
    'Can you highlight the {phrase} in this image with a segmentation mask?',
)

# What the questions for a grounded caption end with, in the order of their first sentences.
_WITH_MASKS = (
    'Please respond with interleaved segmentation masks for the corresponding parts of the answer.',
    'Please output with interleaved segmentation masks for the corresponding phrases.',
    'Please respond with interleaved segmentation masks for the corresponding parts of the answer.',
    'Please output with interleaved segmentation masks for the corresponding phrases.',
    'Please respond with interleaved segmentation masks for the corresponding phrases.',
    'Please output with interleaved segmentation masks for the corresponding parts of the answer.',
)
_BRIEF = (
    'Could you please give me a brief description of the image?',
    'Can you provide a brief description of the this image?',
    'Please briefly describe the contents of the image.',
    'Could you give a brief explanation of what can be found within this picture?',
    'Could you give me an brief explanation of this picture?',
    'Could you provide me with a briefly analysis of this photo?',
)
_DETAILED = (
    'Could you please give me a detail description of the image?',
    'Can you provide a detail description of the this image?',
    'Please describe the contents of the image.',
    'Could you give a detail explanation of what can be found within this picture?',
    'Could you give me a detail explanation of this picture?',
    'Could you provide me with a detail analysis of this photo?',
)
_DESCRIPTION = (
    'Could you please give me a description of the image?',
    'Can you provide a description of the this image?',
    'Please describe the contents of the image.',
    'Could you give a explanation of what can be found within this picture?',
    'Could you give me an explanation of this picture?',
    'Could you provide me with a analysis of this photo?',
)
_WITHOUT_MARKS = ' Do not use "<|object_ref_start|>...<|object_ref_end|>" tags.'

_THINKING = (
    ' A conversation between User and Assistant. The user asks a question, and the Assistant '
    'solves it. The assistant first thinks about the reasoning process in the mind and then '
    'provides the user with the answer. The reasoning process and answer are enclosed within '
    '<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process '
    'here </think><answer> answer here </answer>')
# The five blanks are an accident of a continued line; published figures were measured with them.
_GCG = (f'{_BRIEF[0]} Please respond with interleaved     segmentation masks for the corresponding '
        'parts of the answer.')
_CANDIDATES = 'CANDIDATE CATEGORIES: \n{names}\nCANDIDATE PREDICATES: \n{predicates}\n'

PROMPTS: dict[str, tuple[str, ...]] = {
    'goal': ('Please segment {phrase} in this image.',),
    'referring': (*_REFERRING, *(question[:-1] for question in _REFERRING)),
    'sentence_goal': (
        'Please carefully check the image and detect the object this sentence describes: {phrase}',
    ),
    'reasoning_goal': (
        '{phrase} Please output segmentation mask.',
        '{phrase} Please respond with segmentation mask.',
    ),
    'described_goal': (
        'Locate the object described as: {phrase}. Return its segmentation mask.',
        'Find "{phrase}" in the image and output the pixel mask.',
        'Segment the region corresponding to "{phrase}". Provide the mask only.',
        'Identify "{phrase}" and give the segmentation mask of that object.',
        'From the image, extract the mask for "{phrase}".',
        'Find and segment "{phrase}"; respond with the mask.',
        'Return the segmentation mask of the target: {phrase}.',
        'Segment the pixels that belong to "{phrase}" and return the mask.',
    ),
    'dialogue_goal': (
        'Please locate the image area discussed in the following conversation and respond with '
        'corresponding segmentation maps. \nDialogue: \n{dialogue}',
    ),
    'question': ('{question}',),
    'regions_first': ('{regions}\n{instruction}',),
    'thinking': (_THINKING,),
    'region_caption': (
        'Given a detailed description of this region {region}.',
        'Provide a thorough description of this region {region}.',
        'Describe the region {region} in detail.',
        'Provide detailed information about this region {region}.',
        'Provide a detailed caption of this region {region}.',
        '{region}\nGive a detailed description of the masked region.',
        '{region}\nProvide a detailed description of the masked region.',
        '{region}\nDescribe the masked area comprehensively.',
        '{region}\nWhat are the details of the masked area?',
    ),
    'zoom': (' Zoom in with the perspective as {picture}, {zoomed}.',),
    'interaction': ('What is the interaction between the object {region} and its surroundings?',),
    'relation': (
        'Describe the relationship between {first} and {second}.',
        'What is the relationship between {first} and {second}?',
    ),
    'caption_and_relation': (
        '1. Describe {first} in detail 2. Describe the relationship between {first} and {second}.',
    ),
    'multiple_choice': (
        'Question: {question}\nOptions:\n{choices}\n'
        "Answer with the correct option's letter directly.",
    ),
    'zoom_of_region': (' Zoom in {mark}: {picture}, {zoomed}.',),
    'categories': ('Please carefully check the image and detect the following objects: {names}.',),
    'category_masks': (
        'Segment every instance that belongs to the following categories: {names}',
        'Locate every instance that belongs to the following categories: {names}. Report '
        'segmentation masks in JSON format.',
    ),
    'brief_caption': tuple(f'{first} {then}' for first, then in
                           zip(_BRIEF, _WITH_MASKS, strict=True)),
    'detailed_caption': tuple(f'{first} {then}' for first, then in
                              zip(_DETAILED, _WITH_MASKS, strict=True)),
    'unmarked_caption': tuple(f'{first} {then}{_WITHOUT_MARKS}' for first, then in
                              zip(_DESCRIPTION, _WITH_MASKS, strict=True)),
    'measured_caption': (_GCG,),
    'thinking_caption': (f'{_GCG[:-1]} and highlight the phrases.{_THINKING}',),
    'narrative': (
        'Do panoptic narrative grounding for this image.',
        'Describe this image and provide corresponding masks for mentioned nouns.',
    ),
    'scene_graph': (
        'Generate a scene graph for this image. Identify the main objects and describe their '
        'relationships to each other.',
        'Create a scene graph by identifying triplets of <subject, predicate, object>. Focus on '
        'the most prominent interactions.',
        'What objects are in this image and how are they interacting? List them as a scene graph.',
        'Generate a structured scene graph for the provided image.',
        'Your task is to generate a scene graph for the image.',
        'Generate a scene graph for this image and format the output as a list of JSON objects.',
    ),
    'scene_graph_candidates': (_CANDIDATES + '{question}',),
    'scene_graph_of_masks': (_CANDIDATES + 'Given masks: {regions}\n{question}',),
    'scene_graph_first_round': (
        'Please carefully check the image and detect the following objects: {names}',
    ),
    'scene_graph_second_round': ('CANDIDATE PREDICATES: \n{predicates}\n{question}',),
}
"""Prompts by task; the first one of a task is the one that is used where nobody chooses.

    goal, referring         referring segmentation; as evaluated, and the training questions, of
                            which the second half lacks the last sign
    sentence_goal           GroundingSuite, as evaluated
    reasoning_goal          ReasonSeg: a sentence; a short phrase is asked as in `referring`
    described_goal          dense-world referring
    dialogue_goal           InViG
    thinking                what models trained by reinforcement want behind the question
    zoom, zoom_of_region    behind a question about a region, with a picture of it: of captions, and
                            of relations and choices, where the mark is the one in the question
    interaction             Ferret
    relation                follows the form of the relation questions, whose exact training texts
                            are not known
    caption_and_relation    GAR, detailed
    multiple_choice         GAR
    categories              names in double quotes and brackets
    category_masks          names as they are, with commas
    measured_caption        grounded caption exactly as published figures were measured
    thinking_caption        the same for models trained by reinforcement
    scene_graph_*           names and predicates in braces; the evaluation asks `scene_graph[1]`

Source: samtok-spec 3.3 and 3.4.
"""
