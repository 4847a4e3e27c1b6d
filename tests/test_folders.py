import pytest

from storygen.folders import written_aside


def test_the_new_folder_takes_the_place_of_the_old(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").write_text("")
    with written_aside(tmp_path / "x") as work:
        (work / "new").write_text("")
        assert (tmp_path / "x" / "old").exists()
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").write_text("")
    with pytest.raises(OSError, match="full"), written_aside(tmp_path / "x") as work:
        (work / "new").write_text("")
        raise OSError("full")
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "old"]


def test_a_link_is_followed_not_replaced(tmp_path):
    """The folder may lie on another, larger disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "x").symlink_to(tmp_path / "disk")
    with written_aside(tmp_path / "x") as work:
        (work / "new").write_text("")
    assert (tmp_path / "x").is_symlink()
    assert (tmp_path / "disk" / "new").exists()
