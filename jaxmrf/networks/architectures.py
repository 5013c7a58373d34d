"""VGG-16 and VGG-19 in numbers: convolutions, channels, and what their input is."""

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions of each block (the paper's table 1, columns D and E)."""

CHANNELS = (64, 128, 256, 512, 512)
"""Output channels of the convolutions of each block."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def convolution_names(architecture: str) -> list[str]:
    """Returns the names of all convolutions, shallowest first: conv1_1, conv1_2, ..."""
    return [
        f"conv{block}_{index}"
        for block, count in enumerate(CONVOLUTIONS[architecture], start=1)
        for index in range(1, count + 1)
    ]


def kernel_shapes(architecture: str) -> dict[str, tuple[int, int, int, int]]:
    """Returns the kernel shape (3, 3, in, out) of each convolution by name."""
    shapes, channels = {}, 3
    for name in convolution_names(architecture):
        out = CHANNELS[int(name[4]) - 1]
        shapes[name] = (3, 3, channels, out)
        channels = out
    return shapes
