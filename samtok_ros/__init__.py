"""SAMTok for ROS 2: words in, masks out."""
