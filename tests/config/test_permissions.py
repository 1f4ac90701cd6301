from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hostd.config.permissions import private_folder, refuse_network_file_system, refuse_writable_by_others
from hostd.errors import ConfigurationError, NodeError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def give_to_another_user(path, monkeypatch):
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        stranger = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: stranger)


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir(mode=0o755)
    path = folder / "compress.py"
    path.write_text("")
    path.chmod(0o644)
    return path


def test_a_file_that_only_its_owner_may_write_is_taken(script):
    refuse_writable_by_others(script)
    refuse_writable_by_others(script.parent)


@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_a_file_that_others_may_write_is_refused_with_the_command_that_closes_it(script, bits):
    script.chmod(0o644 | bits)
    with pytest.raises(ConfigurationError, match=rf"chmod go-w '{script}'` or set node\.allow_insecure_permissions"):
        refuse_writable_by_others(script)


@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_a_file_in_a_folder_that_others_may_write_is_refused(script, bits):
    script.parent.chmod(0o755 | bits)
    with pytest.raises(ConfigurationError, match=rf"chmod go-w '{script.parent}'"):
        refuse_writable_by_others(script)


def test_a_folder_further_up_that_others_may_write_is_refused(script):
    script.parent.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"chmod go-w '{script.parent.parent}'"):
        refuse_writable_by_others(script)


def test_a_sticky_folder_above_is_fine(script):
    script.parent.parent.chmod(0o1777)
    refuse_writable_by_others(script)


def test_a_sticky_scripts_folder_is_refused_for_others_may_add_scripts(script):
    script.parent.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="may be written"):
        refuse_writable_by_others(script.parent)


def test_a_file_of_another_user_is_refused(script, monkeypatch):
    give_to_another_user(script, monkeypatch)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        refuse_writable_by_others(script)


def test_a_linked_scripts_folder_is_taken_when_link_and_target_are_safe(script, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(script.parent)
    refuse_writable_by_others(link)
    refuse_writable_by_others(link / "compress.py")


def test_a_linked_scripts_folder_is_refused_when_others_may_write_its_target(script, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(script.parent)
    script.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"chmod go-w '{script.parent}'"):
        refuse_writable_by_others(link)


def test_a_linked_scripts_folder_is_refused_when_others_may_replace_the_link(script, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "link").symlink_to(script.parent)
    shared.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"chmod go-w '{shared}'"):
        refuse_writable_by_others(shared / "link" / "compress.py")


def test_a_link_in_the_middle_of_a_chain_of_links_counts_too(script, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "second").symlink_to("../scripts")
    (tmp_path / "first").symlink_to("shared/second")
    refuse_writable_by_others(tmp_path / "first")
    shared.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"chmod go-w '{shared}'"):
        refuse_writable_by_others(tmp_path / "first")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.py.*No such file"):
        refuse_writable_by_others(tmp_path / "none.py")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigurationError, match="loop"):
        refuse_writable_by_others(tmp_path / "loop")


# -- private folders --------------------------------------------------------------------------------------------------


def test_a_private_folder_is_made_for_its_owner_alone(tmp_path):
    old = os.umask(0)
    try:
        private_folder(tmp_path / "data")
    finally:
        os.umask(old)
    assert mode(tmp_path / "data") == 0o700


def test_a_folder_that_is_there_is_tightened_and_keeps_its_files(tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data" / "file").touch()
    private_folder(tmp_path / "data")
    assert mode(tmp_path / "data") == 0o700
    assert (tmp_path / "data" / "file").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(NodeError, match="is not a folder"):
        private_folder(tmp_path / "data")
    with pytest.raises(NodeError, match="cannot be used"):
        private_folder(tmp_path / "data" / "below")


def test_a_folder_of_another_user_is_refused_and_left_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    give_to_another_user(tmp_path / "data", monkeypatch)
    with pytest.raises(NodeError, match="belongs to another user"):
        private_folder(tmp_path / "data")
    assert mode(tmp_path / "data") == 0o755


def test_a_file_system_that_keeps_no_permissions_is_refused(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    with pytest.raises(NodeError, match="keeps no permissions"):
        private_folder(tmp_path / "data")


# -- network file systems ---------------------------------------------------------------------------------------------


@pytest.fixture
def mounts(tmp_path):
    """Give a mount table in which `/` is local and this folder's `mnt a` is of the kind asked for."""

    def write(kind):
        point = str(tmp_path / "mnt a").replace(" ", r"\040")
        path = tmp_path / "mountinfo"
        path.write_text(
            f"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
            f"30 27 0:30 / {point} rw,relatime shared:1 master:2 - {kind} server:/export rw\n"
        )
        return path

    return write


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.unheard-of", "ceph", "afs"])
def test_a_folder_on_a_network_file_system_is_refused(tmp_path, mounts, kind):
    with pytest.raises(NodeError, match=rf"network file system \({kind}, mounted at {tmp_path}/mnt a\)"):
        refuse_network_file_system(tmp_path / "mnt a" / "not" / "yet", mountinfo=mounts(kind))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.mergerfs"])
def test_a_folder_on_a_local_file_system_is_taken(tmp_path, mounts, kind):
    refuse_network_file_system(tmp_path / "mnt a", mountinfo=mounts(kind))


def test_only_what_is_below_the_mount_point_is_on_it(tmp_path, mounts):
    refuse_network_file_system(tmp_path / "mnt a2", mountinfo=mounts("nfs"))
    refuse_network_file_system(tmp_path, mountinfo=mounts("nfs"))


def test_of_two_mounts_on_one_point_the_later_counts(tmp_path, mounts):
    table = mounts("nfs")
    table.write_text(table.read_text() + table.read_text().splitlines()[1].replace("nfs", "ext4") + "\n")
    refuse_network_file_system(tmp_path / "mnt a", mountinfo=table)


def test_a_link_to_a_network_file_system_is_followed(tmp_path, mounts):
    (tmp_path / "mnt a").mkdir()
    (tmp_path / "link").symlink_to("mnt a")
    with pytest.raises(NodeError, match="network file system"):
        refuse_network_file_system(tmp_path / "link" / "data", mountinfo=mounts("nfs"))


def test_without_a_mount_table_nothing_is_assumed(tmp_path):
    with pytest.raises(NodeError, match="is /proc mounted"):
        refuse_network_file_system(tmp_path, mountinfo=tmp_path / "none")


def test_the_real_mount_table_is_understood():
    with Path("/proc/self/mountinfo").open() as table:
        kinds = {line.split()[4]: line.partition(" - ")[2].split()[0] for line in table}
    assert kinds["/proc"] == "proc"
    refuse_network_file_system(Path("/proc/self"))
