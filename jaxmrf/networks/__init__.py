"""VGG networks, their weights, and the files these come from."""
