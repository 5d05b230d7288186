# SPDX-License-Identifier: Apache-2.0
"""What runs between callbacks and model, without ROS: queues, frame cache, worker, fake model."""
