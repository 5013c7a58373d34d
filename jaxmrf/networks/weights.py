"""Finding, fetching, converting and verifying the weights of a network."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple, cast

import filelock
import platformdirs

from jaxmrf.core.decoder import Decoder
from jaxmrf.core.features import Network
from jaxmrf.errors import ConversionError, FetchError, WeightsError
from jaxmrf.files import atomic
from jaxmrf.networks import architectures, convert, decoder_file, fetch, vgg
from jaxmrf.networks.formats.common import MAX_FILE_BYTES
from jaxmrf.networks.published import PUBLISHED, Published

ENVIRONMENT = "JAXMRF_WEIGHTS"
"""Environment variable with a weight file that takes the place of all others."""

SHIPPED = {
    "vgg16": (
        "vgg16.safetensors",
        "9979e4d9812c25346ef4e3ef67390e07cdefe1881293ccfc7f3af1b4c042543b",
    )
}
"""Networks that come with the package: file under ``weights/`` and its SHA-256."""

DECODERS = {
    "vgg16": (
        "decoder-vgg16.safetensors",
        "1aaae62e656b60521489f4f2469cc7a4d5c08c2eab4338ef7d0c6f42cbff55b5",
    )
}
"""Decoders that come with the package, likewise."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A network from a weight file, ready to use.

    Attributes:
      network: the network, with its decoder if there is one.
      source: where the parameters came from.
      license: of the weights.
      path: the weight file.
      sha256: digest of the weight file.
    """

    network: Network
    source: str = ""
    license: str = ""
    path: Path = Path()
    sha256: str = ""

    @property
    def features(self) -> vgg.VGGFeatures:
        """The function of the network; weight files are of VGG networks."""
        return cast(vgg.VGGFeatures, self.network.features)


def load(name: str = "auto", file: Path | None = None) -> Loaded:
    """Loads a network.

    Args:
      name: ``vgg16``, ``vgg19``, or ``auto``: VGG-19 if it was fetched or converted, else
        the VGG-16 of this package.
      file: weight file of any known format; takes the place of every other, as does the
        environment variable JAXMRF_WEIGHTS.

    Raises:
      WeightsError: if there are no such weights, they are damaged, or another network.
    """
    check_name(name, ("auto", *architectures.CONVOLUTIONS))
    if file is not None or os.environ.get(ENVIRONMENT):
        path = file or Path(os.environ[ENVIRONMENT])
        loaded = load_file(path, architecture=None if name == "auto" else name)
    else:
        path = find(name)
        loaded = load_file(path, sha256=_digests(SHIPPED).get(path))
    decoder = load_decoder(loaded.features)
    return dataclasses.replace(loaded, network=dataclasses.replace(loaded.network, decoder=decoder))


def find(name: str) -> Path:
    """Returns the weight file that `load` takes for a name, without reading it.

    Raises:
      WeightsError: if there is none.
    """
    if name == "auto":
        name = "vgg19" if stored_file("vgg19").exists() else "vgg16"
    if stored_file(name).exists():
        return stored_file(name)
    if name in SHIPPED:
        return shipped_file(SHIPPED[name][0])
    raise WeightsError(f"the weights of {name} are not here; get them: jaxmrf weights fetch {name}")


def load_file(path: Path, *, sha256: str | None = None, architecture: str | None = None) -> Loaded:
    """Loads a weight file of any known format.

    Raises:
      WeightsError: if the file cannot be read, is damaged, is another network, or is not
        the one with the digest `sha256`.
    """
    try:
        digest = atomic.digest(path, "sha256")
        if sha256 is not None and digest != sha256:
            raise WeightsError(
                f"the weights {path} are damaged: SHA-256 is {digest}, expected {sha256}; "
                "install the package again"
            )
        conversion = convert.read(path, architecture)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from None
    except ConversionError as error:
        raise WeightsError(f"cannot use the weights {path}: {error}") from None
    return Loaded(
        network=Network(conversion.features, conversion.params),
        source=conversion.source,
        license=conversion.license,
        path=path,
        sha256=digest,
    )


def load_decoder(network: vgg.VGGFeatures) -> Decoder | None:
    """Loads the decoder of a network: one of your own, else that of this package.

    Returns:
      None if there is none that was trained for this network.

    Raises:
      WeightsError: if its file is missing or damaged.
    """
    path = find_decoder(network.architecture)
    if path is None:
        return None
    decoder, trained_for, _ = _read_decoder(path, _digests(DECODERS).get(path))
    return decoder if decoder_file.fits(trained_for, network) else None


def find_decoder(architecture: str) -> Path | None:
    """Returns the file that `load_decoder` takes for a network, None if there is none."""
    stored = stored_file(f"decoder-{architecture}")
    if stored.exists():
        return stored
    return shipped_file(DECODERS[architecture][0]) if architecture in DECODERS else None


def _read_decoder(path: Path, sha256: str | None) -> tuple[Decoder, vgg.VGGFeatures, str]:
    """Returns a decoder, the network that it was trained for, and the digest of its file."""
    try:
        digest = atomic.digest(path, "sha256")
        if sha256 not in (None, digest):
            raise WeightsError(f"the decoder {path} is damaged; install the package again")
        return *decoder_file.from_safetensors(path.read_bytes()), digest
    except OSError as error:
        raise WeightsError(f"cannot read the decoder {path}: {error.strerror}") from None
    except ConversionError as error:
        raise WeightsError(f"cannot use the decoder {path}: {error}") from None


def convert_file(
    source: Path,
    output: Path | None = None,
    *,
    architecture: str | None = None,
    deepest: str | None = None,
    dtype: str = "float16",
) -> Path:
    """Converts a published weight file and returns where the result is.

    Args:
      source: file of any known format.
      output: file to write; None: where `load` finds it.
      architecture: ``vgg16`` or ``vgg19`` if only that will do.
      deepest: last convolution to keep.
      dtype: ``float16`` or ``float32``.

    Raises:
      WeightsError: if the source cannot be used or the output not be written.
    """
    try:
        conversion = convert.read(source, architecture, deepest)
        output = output or stored_file(conversion.features.architecture)
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic.write(output) as temporary:
            temporary.write(convert.to_safetensors(conversion, dtype))
    except ConversionError as error:
        raise WeightsError(f"cannot convert {source}: {error}") from None
    except OSError as error:
        raise WeightsError(f"{error.filename or output}: {error.strerror}") from None
    return output


def recognize(path: Path) -> Published | None:
    """Returns the published file that has the digest of this one, None if none has.

    Raises:
      WeightsError: if the file cannot be read.
    """
    try:
        digests = {algorithm: atomic.digest(path, algorithm) for algorithm in ("sha256", "md5")}
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    for place in PUBLISHED:
        if place.digest and digests[place.algorithm].startswith(place.digest):
            return place
    return None


def published(network: str, place: str | None = None) -> Published:
    """Returns the place to fetch a network from.

    Raises:
      WeightsError: if it is not published there, or without a digest.
    """
    check_name(network, tuple(architectures.CONVOLUTIONS))
    places = [entry for entry in PUBLISHED if entry.network == network and entry.fetchable]
    for entry in places:
        if place in (None, entry.name):
            return entry
    names = ", ".join(entry.name for entry in places)
    raise WeightsError(f"{network} cannot be fetched from {place!r}; choose from {names}")


def fetch_file(
    source: Published,
    *,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Path:
    """Fetches, verifies and converts a published file; returns where the result is.

    Two processes that ask at once load it once. A download that broke off is continued by
    the next call; the good file of an earlier call stays until a new one is complete.

    Raises:
      WeightsError: if the file cannot be loaded, is not the published one, or cannot be
        stored.
    """
    output = stored_file(source.network)
    part = output.with_name(f"{source.network}-{source.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        before = _stamp(output)
        with filelock.FileLock(output.with_suffix(".lock")):
            if _stamp(output) not in (None, before):
                return output  # another process fetched it while this one waited
            fetch.download(
                source.url,
                part,
                algorithm=source.algorithm,
                digest=source.digest,
                max_bytes=MAX_FILE_BYTES,
                on_progress=on_progress,
            )
            convert_file(part, output, architecture=source.network, dtype="float32")
            part.unlink()
    except FetchError as error:
        raise WeightsError(str(error)) from None
    except OSError as error:
        raise WeightsError(
            f"cannot store the weights in {output.parent}: {error.strerror}"
        ) from None
    return output


class Verified(NamedTuple):
    """A weight file whose digest is the one that it should have.

    Attributes:
      name: ``vgg16``, ``decoder-vgg16`` and so on.
      sha256: digest of the file.
      about: what it holds, and where that came from.
      license: of the weights.
    """

    name: str
    sha256: str
    about: str
    license: str


def verify() -> dict[Path, Verified | WeightsError]:
    """Reads all weight files that `load` may take, which compares their digests.

    Returns:
      By path what it holds, or what is wrong with the file.
    """
    networks, decoders = _digests(SHIPPED), _digests(DECODERS)
    for name in architectures.CONVOLUTIONS:
        for files_of_kind, stored in ((networks, name), (decoders, f"decoder-{name}")):
            if stored_file(stored).exists():
                files_of_kind[stored_file(stored)] = None
    if os.environ.get(ENVIRONMENT):
        networks[Path(os.environ[ENVIRONMENT])] = None
    results: dict[Path, Verified | WeightsError] = {}
    for digests, check in ((networks, _verified_network), (decoders, _verified_decoder)):
        for path, digest in digests.items():
            try:
                results[path] = check(path, digest)
            except WeightsError as error:
                results[path] = error
    return results


def _verified_network(path: Path, sha256: str | None) -> Verified:
    loaded = load_file(path, sha256=sha256)
    about = f"to {loaded.features.deepest}; {loaded.source}"
    return Verified(loaded.features.architecture, loaded.sha256, about, loaded.license)


def _verified_decoder(path: Path, sha256: str | None) -> Verified:
    _, network, digest = _read_decoder(path, sha256)
    about = f"decoder for {network.architecture} with {network.pooling} pooling"
    return Verified(f"decoder-{network.architecture}", digest, about, decoder_file.LICENSE)


def stored_file(name: str) -> Path:
    """Returns where the fetched, converted or trained weights of a network are kept."""
    return Path(platformdirs.user_cache_dir("jaxmrf")) / "weights" / f"{name}.safetensors"


def shipped_file(name: str) -> Path:
    """Returns the path of a file under ``weights/``, in the wheel or in a checkout."""
    installed = Path(str(resources.files("jaxmrf"))) / "_weights" / name
    checkout = Path(__file__).resolve().parents[2] / "weights" / name
    return installed if installed.exists() else checkout


def _digests(shipped: Mapping[str, tuple[str, str]]) -> dict[Path, str | None]:
    """Returns by path the digests that the files of `SHIPPED` or `DECODERS` should have."""
    return {shipped_file(name): digest for name, digest in shipped.values()}


def check_name(name: str, known: tuple[str, ...]) -> None:
    """Raises a WeightsError that lists the known networks if `name` is not one."""
    if name not in known:
        raise WeightsError(f"there is no network {name!r}; choose from {', '.join(known)}")


def _stamp(path: Path) -> tuple[int, int] | None:
    """Returns inode and time of a file, which change when it is replaced; None if there is none."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns
