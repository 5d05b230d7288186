# SPDX-License-Identifier: Apache-2.0
"""Install the core without ROS, and the `samtok` command: `pip install .`.

The whole package, nodes and messages included, is built by CMake (see CMakeLists.txt).
"""
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).resolve().parent
manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
readme = ROOT / 'README.md'

setup(
    name='samtok_ros',
    version=manifest.findtext('version'),
    description=' '.join(manifest.findtext('description', '').split()),
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
    long_description_content_type='text/markdown',
    author=manifest.findtext('maintainer'),
    author_email=manifest.find('maintainer').get('email'),
    license=manifest.findtext('license'),
    python_requires='>=3.11',
    # Namespace packages too: folders that hold data only, such as the embedded model.
    packages=find_namespace_packages(
        include=['samtok_ros', 'samtok_ros.*'],
        exclude=['samtok_ros.nodes', 'samtok_ros.nodes.*', '*.__pycache__', '*.__pycache__.*']),
    package_data={'': ['*']},
    include_package_data=False,
    zip_safe=False,
    # Ranges, for living beside other packages; the versions that are tested are in requirements/.
    install_requires=[
        'huggingface-hub>=1.0',
        'matplotlib>=3.8',
        'numpy>=1.26',
        'onnxruntime>=1.20',
        'opencv-python-headless>=4.9',
        'Pillow>=10.0',
        'PyYAML>=6.0',
        'rosbags>=0.11',
        'rosbags-image>=0.10',
        'safetensors>=0.5',
        'sam2>=1.1.0',
        'scipy>=1.11',
        'tokenizers>=0.22',
        'torch>=2.5.1',
        'torchvision>=0.20.1',
        'tqdm>=4.66',
        'transformers>=5.6',
    ],
    extras_require={
        'gpu': ['onnxruntime-gpu>=1.20'],
        'export': ['onnx>=1.17', 'onnxscript>=0.3'],
        'plm': ['timm>=1.0'],
        'train': ['mujoco>=3.2', 'transformers>=5.20', 'trl>=1.0'],
        'eval': ['accelerate>=1.0', 'pycocoevalcap>=1.2', 'pycocotools>=2.0.8'],
        'dev': ['catkin-pkg>=1.0', 'hypothesis>=6.100', 'pytest>=8.0', 'pytest-timeout>=2.3',
                'pytest-xdist>=3.5', 'ruff>=0.9', 'torchmetrics>=1.4'],
    },
    entry_points={'console_scripts': ['samtok = samtok_ros.cli.main:main']},
)
