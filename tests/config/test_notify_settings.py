"""`[notify.NAME]` and `[sources.NAME]`: what is refused, and where secrets are."""

import pytest

from hostd.config.settings import load
from hostd.errors import ConfigurationError

MAIL = 'host = "m.example"\nsender = "a@b.example"\nto = ["c@d.example"]\n'


def loaded(tmp_path, text, **environ):
    file = tmp_path / "hostd.toml"
    file.write_text("[node]\nallow_insecure_permissions = true\n" + text)
    return load(file, environ=environ)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("", "either a host, for mail, or a url"),
        (MAIL + 'url = "https://x.example"', "either a host, for mail, or a url"),
        ('host = "m"\nto = ["c@d.example"]', "sender should be a mail address"),
        ('host = "m"\nsender = "a@b.example"', "to should be a mail address"),
        (MAIL + 'username = "u"', "a username with its password"),
        (MAIL + 'username = "u"\npassword = "geheim"\ntls = "none"', "over an open line"),
        ('url = "http://far.example/geheim"', "should begin with https://"),
        ('url = "https://u:geheim@far.example"', "no credentials"),
        ('url = "https://x.example"\nto = ["c@d.example"]', "which is mail's"),
        ('url = "https://x.example"\n[notify.ops.headers]\n"a b" = "x"', "whose name is none"),
        (MAIL + 'client_certificate_file = "c"\nclient_key_file = "k"', "which is a webhook's"),
        ('url = "https://x.example"\nclient_key_file = "k"', "client_certificate_file with its client_key_file"),
        ('url = "https://x.example"\nca_file = "nowhere"', "there is no file"),
        ('url_file = "missing"', "write the URL into it"),
        ('url_env = "NOT_SET"', "NOT_SET is not set"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_with_the_reason_and_no_secret(tmp_path, entry, why):
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, f"[notify.ops]\n{entry}")
    assert why in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_secrets_come_from_files_and_variables_and_are_not_shown(tmp_path):
    for name in ("password", "url", "header"):
        (tmp_path / name).write_text(f"https://x.example/geheim-{name}\n")
    text = (
        f'[notify.mail]\n{MAIL}username = "u"\npassword_file = "password"\n'
        '[notify.hook]\nurl_file = "url"\n[notify.hook.header_files]\nAuthorization = "header"\n'
        '[notify.hook.header_env]\nX-Key = "KEY"\n'
    )
    settings = loaded(tmp_path, text, KEY="geheim-key")
    mail, hook = settings.notify["mail"], settings.notify["hook"]
    assert mail.password.get_secret_value().endswith("geheim-password")
    assert mail.smtp_port == 587
    assert hook.url.get_secret_value().endswith("geheim-url")
    assert {name: value.get_secret_value() for name, value in hook.headers.items()} == {
        "Authorization": "https://x.example/geheim-header",
        "X-Key": "geheim-key",
    }
    assert "geheim" not in repr(settings)
    assert "geheim" not in settings.model_dump_json()


def test_names_of_channels_and_sources_must_exist(tmp_path):
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, '[scripts."x.py"]\nchannels = ["opps"]\n[sources.ct1]\nsilent_after_h = 2\n')
    assert "add [notify.opps]" in str(refused.value)
    assert "add [modalities.ct1]" in str(refused.value)
