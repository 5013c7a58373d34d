"""Neural painting with Markov random fields of VGG features, in JAX.

Li & Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image
Synthesis" (CVPR 2016, arXiv 1601.04589). docs/api.md lists the public API; the stub beside this
file says where it is, and each name is loaded when it is first used.
"""

import lazy_loader

from jaxmrf._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
