# SPDX-License-Identifier: Apache-2.0
"""DLC-Bench: detailed captions of regions, for a judge. Source: samtok-spec 4.6.

The file is the list of images with their masks; the official COCO object has to be converted.
"""

from samtok_ros.evaluation.datasets.json_items import list_items
from samtok_ros.evaluation.datasets.sample import DataPlace, Sample, Samples, one_file
from samtok_ros.evaluation.datasets.wording import wording

files = one_file('annotations.json')


def read(place: DataPlace) -> Samples:
    """Give one sample per mask, in the order of the file.

    Raises:
        ConfigError: the file or a field is missing or wrong.
    """
    (path,) = files(place)
    for item in list_items(path):
        name = item.get('image_name', str)
        for index in range(len(item.get('mask_samples', list))):
            region = item.inner('mask_samples', index)
            mask = region.get('segmentation', (dict, list))
            yield Sample(f'{name}#{index}', place.image(name),
                         wording('region_caption', region='<region:1>'), regions=(mask,),
                         facts={'image_name': name, 'mask_sample': dict(region.fields)})
