# SPDX-License-Identifier: Apache-2.0
"""Every instruction by task, exact: the models were trained on these very strings.

Errors of grammar and of typing in them are the published ones. Fields in braces are filled in by
`instructions.filled`.
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

PROMPTS: dict[str, tuple[str, ...]] = {
    'goal': ('Please segment {phrase} in this image.',),
    'referring': (*_REFERRING, *(question[:-1] for question in _REFERRING)),
    'question': ('{question}',),
    'instruction after regions': ('{regions}\n{instruction}',),
    'region caption': (
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
    'relation': (
        'Describe the relationship between {first} and {second}.',
        'What is the relationship between {first} and {second}?',
    ),
    'multiple choice': (
        'Question: {question}\nOptions:\n{choices}\n'
        "Answer with the correct option's letter directly.",
    ),
    'categories': ('Please carefully check the image and detect the following objects: {names}.',),
    'brief caption': tuple(f'{first} {then}' for first, then in
                           zip(_BRIEF, _WITH_MASKS, strict=True)),
    'detailed caption': tuple(f'{first} {then}' for first, then in
                              zip(_DETAILED, _WITH_MASKS, strict=True)),
    'scene graph': (
        'Generate a scene graph for this image. Identify the main objects and describe their '
        'relationships to each other.',
        'Create a scene graph by identifying triplets of <subject, predicate, object>. Focus on '
        'the most prominent interactions.',
        'What objects are in this image and how are they interacting? List them as a scene graph.',
        'Generate a structured scene graph for the provided image.',
        'Your task is to generate a scene graph for the image.',
        'Generate a scene graph for this image and format the output as a list of JSON objects.',
    ),
}
"""Prompts by task; the first one of a task is the one that is used where nobody chooses.

'referring' holds the training questions, the second half without their last sign; 'relation'
follows the form of the relation questions, whose exact training texts are not known.
Source: samtok-spec 3.3 and 3.4.
"""
