from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from hostd.config import passwords
from hostd.config.hashing import hash_password
from hostd.config.loopback import is_loopback
from hostd.config.passwords import check_password, http_exposure_problem, recall_password
from hostd.config.sections import User
from hostd.config.settings import Settings

FAST = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def user(password, **other):
    return User(password_hash=FAST.hash(password), **other)


@pytest.fixture
def users():
    return {"anna": user("right", role="admin"), "ben": user("other")}


@pytest.fixture
def verifications(monkeypatch):
    """Count the costly checks."""
    seen = []
    verify = PasswordHasher.verify

    def counted(self, password_hash, password):
        seen.append(password_hash)
        return verify(self, password_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    return seen


def test_a_hash_is_argon2id_salted_and_accepted_by_the_configuration():
    one, two = hash_password("geheim"), hash_password("geheim")
    assert one.startswith("$argon2id$")
    assert one != two
    found = check_password({"anna": User(password_hash=one)}, "anna", "geheim")
    assert found is not None
    assert found.role == "read"


@pytest.mark.parametrize(
    ("username", "password"), [("anna", "wrong"), ("anna", "other"), ("anna", ""), ("nobody", "right"), ("", "")]
)
def test_a_wrong_password_or_user_is_nobody(users, username, password):
    assert check_password(users, username, password) is None
    assert check_password({}, username, password) is None


@pytest.mark.parametrize("password", ["ä€\U0001f40d", "nul\0nul", "\udcff", "x" * 5000])
def test_a_password_may_be_any_text(password):
    users = {"anna": user(password.encode("utf-8", "surrogatepass"))}
    assert check_password(users, "anna", password) is users["anna"]
    assert check_password(users, "anna", password + "x") is None


def test_a_check_that_succeeded_is_not_paid_for_again(users, verifications):
    for _ in range(3):
        assert check_password(users, "anna", "right") is users["anna"]
    assert len(verifications) == 1


def test_a_check_that_failed_is_not_remembered(users, verifications):
    for _ in range(2):
        assert check_password(users, "anna", "wrong") is None
    assert len(verifications) == 2


def test_a_remembered_password_is_of_no_use_to_another_user_nor_after_a_change(users):
    assert check_password(users, "anna", "right")
    assert check_password(users, "ben", "right") is None
    assert check_password({"anna": user("new")}, "anna", "right") is None
    assert check_password({}, "anna", "right") is None


def test_only_what_was_found_right_is_recalled_and_for_that_hash_only(users, verifications):
    assert recall_password(users, "anna", "right") is None
    assert check_password(users, "anna", "right")
    assert recall_password(users, "anna", "right") is users["anna"]
    for username, password in (("anna", "wrong"), ("ben", "right"), ("nobody", "right")):
        check_password(users, username, password)
        assert recall_password(users, username, password) is None
    assert recall_password({"anna": user("right")}, "anna", "right") is None
    assert recall_password({}, "anna", "right") is None
    assert len(verifications) == 4


def test_a_change_of_role_counts_at_once(users):
    assert check_password(users, "anna", "right").role == "admin"
    lowered = {"anna": users["anna"].model_copy(update={"role": "read"})}
    assert check_password(lowered, "anna", "right").role == "read"


def test_an_unknown_user_takes_the_work_of_a_known_one(users, verifications):
    check_password(users, "nobody", "right")
    check_password(users, "nobody", "right")
    assert len(verifications) == 2
    assert all("$m=64,t=1,p=1$" in password_hash for password_hash in verifications)
    check_password({}, "nobody", "right")
    assert len(verifications) == 3


def test_what_is_remembered_holds_no_password_and_does_not_grow_for_ever(users, monkeypatch):
    remembered = passwords._Remembered()
    monkeypatch.setattr(passwords, "_remembered", remembered)
    monkeypatch.setattr(passwords, "_MAX_REMEMBERED", 2)
    assert check_password(users, "anna", "right")
    assert b"right" not in b"".join(remembered._checks)
    for number in range(3):
        remembered.add(remembered.digest("hash", str(number)))
    assert len(remembered._checks) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"])
def test_loopback_needs_no_users(host):
    assert is_loopback(host)
    assert http_exposure_problem(Settings(http={"host": host})) is None


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "0", "192.0.2.7", "::ffff:192.0.2.7", "pacs.example", "localhost.example"]
)
def test_beyond_loopback_without_users_is_refused_and_says_how_to_make_one(host):
    problem = http_exposure_problem(Settings(http={"host": host}))
    assert problem is not None
    assert host in problem
    assert "hostd config hash-password" in problem


def test_beyond_loopback_with_users_or_switched_off_is_allowed(users):
    assert http_exposure_problem(Settings(http={"host": "0.0.0.0"}, users=users)) is None
    assert http_exposure_problem(Settings(http={"host": "0.0.0.0", "enabled": False})) is None
