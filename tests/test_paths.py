"""Names of files: the same file by another name, free names, names at the limit, links."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmrf.files import atomic, paths
from jaxmrf.jobs import watch

NOT_UTF8 = os.fsdecode(b"cat\xff\xfe.png")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "sub").mkdir()
    return tmp_path


def test_all_names_of_a_file_have_one_identity(folder):
    (folder / "symbolic.png").symlink_to("a.png")
    (folder / "hard.png").hardlink_to("a.png")
    (folder / "door").symlink_to("sub")
    names = ("a.png", "./a.png", "sub/../a.png", "symbolic.png", "hard.png", "door/../a.png")
    assert len({paths.identity(folder / name) for name in names}) == 1
    assert paths.identity(folder / "door/new.png") == paths.identity(folder / "sub/new.png")
    assert paths.identity(folder / "new.png") != paths.identity(folder / "a.png")


def test_a_link_that_leads_back_to_itself_has_an_identity(folder):
    (folder / "loop.png").symlink_to("loop.png")
    assert paths.identity(folder / "loop.png") != paths.identity(folder / "a.png")


def test_a_free_name_is_nobodys(folder):
    assert paths.free(folder / "b.png") == folder / "b.png"
    (folder / "a-2.png").symlink_to("nowhere")  # a broken link is a name, too
    assert paths.free(folder / "a.png") == folder / "a-3.png"


@given(stem=st.text(st.sampled_from("aé🎨" + os.fsdecode(b"\xff")), min_size=1, max_size=254))
def test_a_name_beside_another_is_never_too_long(stem):
    name = paths.beside(paths.Path("/") / f"{stem}.png", ".preview.png").name
    assert len(os.fsencode(name)) <= 255
    assert name.endswith(".preview.png")
    assert stem.startswith(name.removesuffix(".preview.png"))


@pytest.mark.parametrize("name", ["plain.png", "n" * 251 + ".png", NOT_UTF8])
def test_whatever_can_be_a_name_can_be_written(folder, name):
    with atomic.write(folder / name) as file:
        file.write(b"new")
    assert (folder / name).read_bytes() == b"new"


def test_writing_goes_through_a_link_to_its_target(folder):
    link = folder / "link.png"
    link.symlink_to("sub/target.png")
    for content in (b"first", b"second"):
        with atomic.write(link) as file:
            file.write(content)
        assert link.is_symlink()
        assert (folder / "sub" / "target.png").read_bytes() == content
    assert not list(folder.glob(".jaxmrf-*"))


def test_previews_leave_what_is_not_ours(folder):
    (folder / "a.preview.png").write_bytes(b"a picture of the user's")
    assert watch.preview_of(folder / "a.png") == folder / "a.preview-2.png"
    assert watch.preview_of(folder / "b.png") == folder / "b.preview.png"
