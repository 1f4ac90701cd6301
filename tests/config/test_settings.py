from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hostd.cli.config import show
from hostd.config.problems import InvalidConfigurationError
from hostd.config.settings import Settings, load, load_with_origins
from hostd.errors import ConfigurationError, NotFoundError

MODALITY = '[modalities.archive]\naet = "ARCHIVE"\nhost = "192.0.2.7"\nport = 104\n'
PEER = '[peers.buffer]\nurl = "https://buffer.example/"\n'


def problems(config, text, **environ):
    with pytest.raises(InvalidConfigurationError) as caught:
        config.load(text, **environ)
    return caught.value.problems


def only_problem(config, text, **environ):
    (problem,) = problems(config, text, **environ)
    return problem


def test_without_a_file_there_are_the_documented_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load(None, environ={})
    assert settings.node.data == tmp_path / "hostd-data"
    assert settings.node.scripts == tmp_path / "scripts"
    assert (settings.dicom.host, settings.dicom.port, settings.dicom.aets) == ("127.0.0.1", 4242, ("HOSTD",))
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8042)
    assert settings.ingest.on_conflict == "newest"
    assert settings.scripting.isolation == "required"
    assert settings.delivery.calling_aet == "HOSTD"
    assert (settings.modalities, settings.peers, settings.scripts, settings.users) == ({}, {}, {}, {})


def test_the_environment_is_read_by_load_and_by_nothing_else(monkeypatch):
    monkeypatch.setenv("HOSTD_HTTP__PORT", "8043")
    assert Settings().http.port == 8042
    assert load(None).http.port == 8043


def test_settings_cannot_be_changed():
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.http.port = 1
    with pytest.raises(ValidationError):
        settings.http = settings.http


def test_relative_paths_are_relative_to_the_file_not_to_the_current_folder(config, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config.write('[node]\ndata = "../d/./x"\nscripts = "s"\nblobs = "../b"\n')
    node = load(Path("../hostd.toml"), environ={"HOSTD_PEERS__P__URL": "http://x", "HOSTD_NODE__SCRIPTS": "t"}).node
    assert node.data == tmp_path.parent / "d" / "x"
    assert node.scripts == tmp_path / "t"
    assert node.place.blobs == tmp_path.parent / "b"


def test_a_tilde_is_the_home_folder(config, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert config.load('[node]\ndata = "~/d"\n').node.data == Path("/home/anna/d")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://hostd:geheim@db/hostd", "holds a password"),
        ("postgresql+psycopg://db/hostd?password=geheim", "holds a password"),
        ("postgresql://db/hostd", "should be postgresql"),
        ("sqlite:///geheim.db", "leave it out to use SQLite"),
        ("index.db", "should be postgresql"),
        ("postgresql+psycopg://hostd@db", "names no database"),
    ],
)
def test_a_database_that_cannot_be_served_is_refused(config, url, expected):
    problem = only_problem(config, f'[node]\ndatabase = "{url}"\n')
    assert (problem.key, problem.line) == ("node.database", 2)
    assert expected in problem.message
    assert "geheim" not in str(problem)


def test_the_password_of_the_database_comes_from_a_file_or_a_variable_and_is_never_shown(config, tmp_path):
    url = "postgresql+psycopg://hostd@db:5433/hostd"
    (tmp_path / "secret").write_text("ge/hei:m@\n")
    for text in (
        'database_password_file = "secret"',
        'database_password_env = "PW"',
        'database_password = "ge/hei:m@"',
    ):
        settings = config.load(f'[node]\ndatabase = "{url}"\n{text}\n', PW="ge/hei:m@")
        assert settings.node.place.database == "postgresql+psycopg://hostd:ge%2Fhei%3Am%40@db:5433/hostd"
        assert "hei" not in f"{settings!r} {settings.node.place!r} {settings.model_dump_json()}"


def test_a_password_without_a_database_is_refused(config):
    assert "no database" in only_problem(config, '[node]\ndatabase_password_env = "PW"\n').message


# -- environment ------------------------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_file(config):
    settings = config.load("[http]\nport = 8042\nmax_upload_mb = 7\n", HOSTD_HTTP__PORT="8043")
    assert (settings.http.port, settings.http.max_upload_mb) == (8043, 7)


@pytest.mark.parametrize("value", ["A,B", "A, B", '["A", "B"]'])
def test_a_list_from_the_environment_is_json_or_comma_separated(config, value):
    assert config.load("", HOSTD_DICOM__AETS=value).dicom.aets == ("A", "B")


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("false", False), ("no", False)])
def test_a_truth_value_from_the_environment(config, value, expected):
    assert config.load("", HOSTD_DICOM__CHECK_CALLED_AET=value).dicom.check_called_aet is expected


def test_the_environment_reaches_into_named_tables_in_any_case(config):
    settings = config.load(
        '[modalities.ARCHIVE-2]\naet = "A"\nhost = "h"\nport = 104\n[scripts."Compress.py"]\nmay = ["delete"]\n',
        HOSTD_MODALITIES__ARCHIVE_2__PORT="105",
        HOSTD_MODALITIES__NEW__AET="N",
        HOSTD_MODALITIES__NEW__HOST="n",
        HOSTD_MODALITIES__NEW__PORT="11112",
        HOSTD_SCRIPTS__COMPRESS_PY__TIME_LIMIT_S="7.5",
        HOSTD_SCRIPTS__COMPRESS_PY__DESTINATIONS="new",
        HOSTD_SCRIPTS__COMPRESS_PY__CONFIG='{"ratio": 1.1}',
        HOSTD_SCRIPTS__ROUTE_PY__MAX_ACTIONS="3",
    )
    assert settings.modalities["ARCHIVE-2"].port == 105
    assert settings.modalities["ARCHIVE-2"].aet == "A"
    assert settings.modalities["new"].port == 11112
    script = settings.scripts["Compress.py"]
    assert (script.time_limit_s, script.destinations, script.may) == (7.5, ("new",), ("delete",))
    assert script.config == {"ratio": 1.1}
    assert settings.scripts["route.py"].max_actions == 3


def test_a_whole_table_from_the_environment_is_laid_under_its_single_settings(config):
    settings = config.load(
        MODALITY,
        HOSTD_MODALITIES__PACS__PORT="105",
        HOSTD_MODALITIES='{"PACS": {"aet": "P", "host": "p", "port": 104}}',
    )
    assert settings.modalities["PACS"].port == 105
    assert settings.modalities["archive"].port == 104


def test_a_name_that_the_environment_cannot_tell_apart_is_refused(config):
    text = '[peers.a-b]\nurl = "http://x"\n[peers.a_b]\nurl = "http://y"\n'
    problem = only_problem(config, text, HOSTD_PEERS__A_B__URL="http://z")
    assert "a-b, a_b" in problem.message
    assert problem.variable == "HOSTD_PEERS__A_B__URL"


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("HOSTD_HTP__PORT", "did you mean http?"),
        ("HOSTD_HTTP__PROT", "did you mean http.port"),
        ("HOSTD_HTTP_PORT", "did you mean HOSTD_HTTP__PORT"),
        ("HOSTD_PORT", "name its table"),
    ],
)
def test_a_misspelt_variable_is_refused_by_its_name(config, variable, expected):
    problem = only_problem(config, "", **{variable: "1"})
    assert problem.variable == variable
    assert expected in problem.message


def test_other_variables_that_begin_like_ours_are_left_alone(config):
    assert config.load("", HOSTD_BUFFER_PASSWORD="x", HOSTD="y", HOSTDX__Y="z").http.port == 8042


def test_a_wrong_value_in_a_variable_names_the_variable_not_a_line(config):
    problem = only_problem(config, "[http]\nport = 1\n", HOSTD_HTTP__PORT="eight")
    assert (problem.variable, problem.file, problem.line) == ("HOSTD_HTTP__PORT", None, None)
    assert "eight" not in str(problem)


def test_a_table_that_is_incomplete_by_the_environment_names_a_variable(config):
    found = problems(config, "", HOSTD_MODALITIES__X__AET="X")
    assert {p.key for p in found} == {"modalities.x.host", "modalities.x.port"}
    assert {p.variable for p in found} == {"HOSTD_MODALITIES__X__AET"}


# -- problems ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "line", "expected"),
    [
        ("\n[http]\nprot = 8043\n", "http.prot", 3, "did you mean http.port?"),
        ("[htpp]\nport = 1\n", "htpp", 1, "did you mean http?"),
        ("aets = ['X']\n", "aets", 1, "did you mean dicom.aets?"),
        ("[tools.x]\npath = 'x'\n", "tools.x.command", 1, "is missing"),
        ("[log]\nzebra = 1\n", "log.zebra", 2, "[log] has format, level"),
        ("[http]\nport = 65536\n", "http.port", 2, "less than or equal to 65535"),
        ("[http]\nport = true\n", "http.port", 2, "should be a number"),
        ("[delivery]\ntimeout_s = inf\n", "delivery.timeout_s", 2, "finite"),
        ("[delivery]\nfirst_retry_s = 9\nmax_retry_s = 8\n", "delivery", 1, "max_retry_s is less"),
        ("http = 5\n", "http", 1, "should be a table, written [http]"),
        ("[dicom]\naets = []\n", "dicom.aets", 2, "at least 1"),
        ("[dicom]\naets = ['SEVENTEEN_LETTERS']\n", "dicom.aets[0]", 2, "1 to 16"),
        ("[dicom]\nhost = '[::1]'\n", "dicom.host", 2, "without brackets"),
        ("[dicom]\nhost = 'http://x'\n", "dicom.host", 2, "without scheme"),
        ("[ingest]\non_conflict = 'oldest'\n", "ingest.on_conflict", 2, "'newest', 'first' or 'refuse'"),
        (MODALITY + "prefer = 'j2l'\n", "modalities.archive.prefer", 5, "j2k"),
        ('[modalities]\narchive = {aet = "A", host = "h"}\n', "modalities.archive.port", 2, "is missing"),
        ('[modalities."a:b"]\naet = "A"\nhost = "h"\nport = 1\n', 'modalities."a:b"', 1, "letters, digits"),
        ('[scripts."compress"]\n', "scripts.compress", 1, "name of a file"),
        ('[targets.r]\nurl = "https://r/"\nmethods = ["DELETE"]\n', "targets.r.methods", 3, "GET, POST, PUT"),
        ('[scripts."c.py"]\nmay = ["lossly"]\n', 'scripts."c.py".may', 2, 'did you mean "lossy"'),
        (MODALITY + '[scripts."c.py"]\ndestinations = ["archiv"]\n', 'scripts."c.py".destinations', 6, "'archive'"),
        ('[users."a:b"]\npassword_hash = "x"\n', 'users."a:b"', 1, "printable characters"),
        ('[node]\ndata = "x"\nscripts = "./x"\n', "node.scripts", 3, "folder of their own"),
    ],
)
def test_a_problem_names_the_key_the_line_and_what_to_do(config, text, key, line, expected):
    problem = problems(config, text)[0]
    assert (problem.key, problem.file, problem.line) == (key, config.path, line)
    assert expected in problem.message
    assert str(problem).startswith(f"{config.path}, line {line}: {key}: ")


def test_all_problems_are_listed_at_one_time(config):
    found = problems(
        config,
        "[http]\nprot = 1\n[dicom]\nport = -1\n[log]\nlevel = 'loud'\n",
        HOSTD_HTTP_PORT="1",
        HOSTD_NODE__NAME="a b",
    )
    assert {p.key for p in found} == {"", "http.prot", "dicom.port", "log.level", "node.name"}


def test_what_is_not_toml_names_its_line(config):
    problem = only_problem(config, "[http]\nport = \n")
    assert problem.line == 2
    assert "not TOML" in problem.message


def test_a_missing_unreadable_or_wrongly_encoded_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"there is no configuration file .*none\.toml"):
        load(tmp_path / "none.toml", environ={})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path, environ={})
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigurationError, match=r"not UTF-8 text \(byte 2\)"):
        load(tmp_path / "latin.toml", environ={})


def test_a_byte_order_mark_does_no_harm(config):
    assert config.load("\ufeff[http]\nport = 1\n").http.port == 1


def test_a_configuration_that_others_may_write_is_refused_until_told_otherwise(config):
    config.write("")
    config.path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        load(config.path, environ={})
    assert load(config.path, environ={"HOSTD_NODE__ALLOW_INSECURE_PERMISSIONS": "true"}).node.allow_insecure_permissions


# -- destinations -----------------------------------------------------------------------------------------------------


BOTH = MODALITY + PEER + '[peers.archive]\nurl = "http://x:8042/base"\n'


def test_a_name_of_both_kinds_must_say_its_kind(config):
    settings = config.load(BOTH)
    assert settings.destination_names() == ("buffer", "modality:archive", "peer:archive")
    assert settings.resolve_destination("buffer") == ("peer", "buffer")
    assert settings.resolve_destination("peer:buffer") == ("peer", "buffer")
    assert settings.resolve_destination("modality:archive") == ("modality", "archive")
    assert settings.resolve_destination("peer:archive") == ("peer", "archive")
    with pytest.raises(
        ConfigurationError, match="both a modality and a peer: write 'modality:archive' or 'peer:archive'"
    ):
        settings.resolve_destination("archive")


@pytest.mark.parametrize("name", ["bufer", "modality:buffer", "peer:", "", ":buffer", "folder:buffer", "buffer:buffer"])
def test_a_destination_that_does_not_exist_is_not_found(config, name):
    with pytest.raises(NotFoundError, match="there is no destination"):
        config.load(BOTH).resolve_destination(name)


def test_a_destination_named_like_a_kind_is_found_by_its_name(config):
    settings = config.load('[peers.modality]\nurl = "http://x"\n')
    assert settings.resolve_destination("modality") == ("peer", "modality")
    assert settings.resolve_destination("peer:modality") == ("peer", "modality")


def test_a_script_may_send_where_its_entry_says(config):
    settings = config.load(BOTH + '[scripts."c.py"]\ndestinations = ["peer:buffer", "peer:archive"]\n')
    assert settings.destinations_of("c.py") == ("buffer", "peer:archive")
    assert settings.destinations_of("without_entry.py") == settings.destination_names()
    assert settings.script("without_entry.py").may == ()


def test_a_script_that_names_an_ambiguous_destination_is_refused(config):
    problem = only_problem(config, BOTH + '[scripts."c.py"]\ndestinations = ["archive"]\n')
    assert "modality:archive" in problem.message


def test_destinations_take_time_limit_and_calling_title_of_delivery_unless_they_have_their_own(config):
    settings = config.load(
        '[dicom]\naets = ["FIRST", "SECOND"]\n[delivery]\ntimeout_s = 9\n' + BOTH + "timeout_s = 30.0\n"
        '[modalities.own]\naet = "O"\nhost = "h"\nport = 1\ncalling_aet = "ME"\ntimeout_s = 1\n'
    )
    assert settings.delivery.calling_aet == "FIRST"
    assert (settings.modalities["archive"].calling_aet, settings.modalities["archive"].timeout_s) == ("FIRST", 9)
    assert (settings.modalities["own"].calling_aet, settings.modalities["own"].timeout_s) == ("ME", 1)
    assert (settings.peers["buffer"].timeout_s, settings.peers["archive"].timeout_s) == (9, 30)
    assert config.load('[delivery]\ncalling_aet = "ME"\n' + MODALITY).modalities["archive"].calling_aet == "ME"


def test_the_preferred_syntax_is_looked_up_by_any_of_its_names(config):
    modality = config.load(MODALITY + 'prefer = "JPEG2000Lossless"\n').modalities["archive"]
    assert modality.preferred_syntax.short == "j2k"


# -- peers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:hunter2secret@x/", "credentials in a URL"),
        ("https://u:hunter2secret@x:port/", "should be a URL"),
        ("https://[hunter2secret", "should be a URL"),
        ("ftp://x/hunter2secret", "should begin with https"),
        ("hunter2secret", "should begin with https"),
        ("https:///hunter2secret", "should name a host"),
        ("https://x/?token=hunter2secret", "no '?'"),
    ],
)
def test_a_url_that_cannot_be_a_peers_is_refused_without_repeating_it(config, url, expected):
    with pytest.raises(ConfigurationError) as caught:
        config.load(f'[peers.p]\nurl = "{url}"\n')
    assert expected in str(caught.value)
    assert "hunter2secret" not in str(caught.value)


def test_a_folder_is_a_destination_with_a_path_relative_to_the_file(config, tmp_path):
    settings = config.load('[folders.export]\npath = "out"\n' + BOTH)
    assert (
        settings.resolve_destination("export") == settings.resolve_destination("folder:export") == ("folder", "export")
    )
    assert settings.folders["export"].path == tmp_path / "out"
    assert settings.destination_names() == ("buffer", "export", "modality:archive", "peer:archive")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('template = "{PatientId}"', "did you mean PatientID?"),
        ('template = "../x"', "dot"),
        ('missing = "a/b"', "safe"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_where_it_is_written(config, line, expected):
    with pytest.raises(InvalidConfigurationError) as raised:
        config.load(f'[folders.export]\npath = "out"\n{line}\n')
    (problem,) = raised.value.problems
    assert problem.line == 3
    assert expected in problem.message


def test_a_peers_url_ends_in_a_slash(config):
    assert config.load(BOTH).peers["archive"].url == "http://x:8042/base/"


@pytest.mark.parametrize("content", ["geheim", "geheim\n", "geheim\r\n"])
def test_a_newline_at_the_end_of_a_password_file_is_left_out(config, tmp_path, content):
    (tmp_path / "password").write_bytes(content.encode())
    peer = config.load(PEER + 'username = "u"\npassword_file = "password"\n').peers["buffer"]
    assert peer.password.get_secret_value() == "geheim"


def test_only_one_newline_of_a_password_file_is_left_out(config, tmp_path):
    (tmp_path / "password").write_bytes(b" geheim \n\n")
    peer = config.load(PEER + 'username = "u"\npassword_file = "password"\n').peers["buffer"]
    assert peer.password.get_secret_value() == " geheim \n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "not UTF-8"),
        (b"x" * 70000, "too large"),
    ],
)
def test_a_password_file_that_gives_no_password_is_refused(config, tmp_path, content, expected):
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    problem = only_problem(config, PEER + 'username = "u"\npassword_file = "password"\n')
    assert (problem.key, problem.line) == ("peers.buffer.password_file", 4)
    assert expected in problem.message


def test_a_password_file_that_cannot_be_read_is_refused(config, tmp_path):
    (tmp_path / "password").mkdir()
    assert "cannot be read" in only_problem(config, PEER + 'username = "u"\npassword_file = "password"\n').message


def test_a_password_may_come_from_a_variable_of_any_name(config):
    text = PEER + 'username = "u"\npassword_env = "HOSTD_BUFFER_PASSWORD"\n'
    assert config.load(text, HOSTD_BUFFER_PASSWORD="geheim").peers["buffer"].password.get_secret_value() == "geheim"
    assert "HOSTD_BUFFER_PASSWORD is not set" in only_problem(config, text).message


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('password = "p"', "no username"),
        ('username = "u"', "no password"),
        ('username = "u"\npassword = "p"\npassword_env = "E"', "keep one of them"),
    ],
)
def test_credentials_that_do_not_go_together_are_refused(config, lines, expected):
    assert expected in only_problem(config, PEER + lines).message


def test_a_file_of_certificates_must_exist(config, tmp_path):
    assert "there is no file" in only_problem(config, PEER + 'ca_file = "ca.pem"\n').message
    (tmp_path / "ca.pem").touch()
    assert config.load(PEER + 'ca_file = "ca.pem"\n').peers["buffer"].ca_file == tmp_path / "ca.pem"
    assert config.load(PEER).peers["buffer"].ca_file is None


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_the_text_of_settings(config):
    settings = config.load(PEER + 'username = "u"\npassword = "hunter2secret"\n')
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.peers["buffer"])):
        assert "hunter2secret" not in text
    assert settings.peers["buffer"].password.get_secret_value() == "hunter2secret"


@pytest.mark.parametrize(
    "text",
    [
        PEER + 'username = "u"\npassword = ["hunter2secret"]\n',
        PEER + 'password = "hunter2secret"\n',
        PEER + 'username = "u"\npassword = "hunter2secret"\npasword = "hunter2secret"\n',
        PEER + 'username = "u"\npassword = "hunter2secret"\npassword_env = "E"\n',
        '[peers]\nbuffer = "hunter2secret"\n',
        'peers = "hunter2secret"\n',
        '[users.u]\npassword_hash = "hunter2secret"\n',
        '[users.u]\npassword_hash = "$argon2i$v=19$m=65536,t=3,p=4$hunter2secret$hunter2secret"\n',
        '[users.u]\npassword_hash = "hunter2secret"\nrole = "hunter2secret"\n',
        PEER + 'username = "u"\npassword = "hunter2secret\n',
        PEER + 'username = "u"\npassword = hunter2secret\n',
    ],
)
def test_no_secret_is_in_the_error_nor_its_traceback_when_it_is_wrong(config, text):
    with pytest.raises(ConfigurationError) as caught:
        config.load(text)
    assert "hunter2secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HOSTD_PEERS", '{"p": {"password": "hunter2secret"'),
        ("HOSTD_PEERS__P", '{"password": "hunter2secret"'),
        ("HOSTD_PEERS__P", "hunter2secret"),
        ("HOSTD_PEERS__P__PASSWORD", "hunter2secret"),
        ("HOSTD_USERS__P__PASSWORD_HASH", "hunter2secret"),
    ],
)
def test_no_secret_is_in_the_error_when_a_variable_is_wrong(config, variable, value):
    found = problems(config, "", **{variable: value})
    assert {p.variable for p in found} == {variable}
    assert "hunter2secret" not in "".join(map(repr, found))


@pytest.mark.parametrize(
    "value", ["M\u00fcller hunter2secret", "hunter2secret\\n", " hunter2secret", "hunter2secret\\u0000"]
)
@pytest.mark.parametrize("table", ["peers", "dicomweb", "targets"])
def test_a_header_that_cannot_be_sent_is_named_and_its_value_not_shown(config, table, value):
    (problem,) = problems(config, f'[{table}.a]\nurl = "http://h/"\nheaders = {{ "X-Token" = "{value}" }}\n')
    assert problem.key == f"{table}.a.headers"
    assert "X-Token" in problem.message
    assert "hunter2secret" not in str(problem)


@pytest.mark.parametrize("name", ["a:b", "", "a\x07", "x" * 65])
def test_a_user_whose_name_cannot_be_signed_in_with_is_refused(name):
    hashed = {"password_hash": "$argon2id$v=19$m=64,t=1,p=1$aHVudGVyMnNlY3JldA$Y4bmYd5yXqdnL5wbvjNdfw"}
    with pytest.raises(ValidationError, match="a user's name"):
        Settings(users={name: hashed})


def test_a_path_with_a_character_that_is_in_no_path_is_refused(config):
    assert only_problem(config, '[node]\ndata = "a\\u0000b"\n').key == "node.data"


def test_a_validation_error_of_settings_made_by_hand_shows_no_secret():
    with pytest.raises(ValidationError) as caught:
        Settings(peers={"p": {"url": "https://u:hunter2secret@x/", "password": ["hunter2secret"]}})
    assert "hunter2secret" not in str(caught.value)


# -- origins ----------------------------------------------------------------------------------------------------------


def test_every_value_knows_where_it_comes_from(config):
    path = config.write("[http]\nport = 1\n" + MODALITY + '[scripts."c.py"]\nconfig = {a = 1}\n')
    loaded = load_with_origins(path, environ={"HOSTD_HTTP__HOST": "::1", "HOSTD_MODALITIES__ARCHIVE__PORT": "7"})
    assert loaded.origin(("http", "port")) == "file"
    assert loaded.origin(("http", "host")) == "environment HOSTD_HTTP__HOST"
    assert loaded.origin(("http", "enabled")) == "default"
    assert loaded.origin(("modalities", "archive", "port")) == "environment HOSTD_MODALITIES__ARCHIVE__PORT"
    assert loaded.origin(("modalities", "archive", "aet")) == "file"
    assert loaded.origin(("scripts", "c.py", "config")) == "file"


@pytest.mark.parametrize("password", ["[1]", "{abc", '{"a": 1}', "123", "null", "a,b", " x "])
def test_a_password_from_the_environment_is_taken_to_the_letter(config, password):
    peer = config.load(PEER, HOSTD_PEERS__BUFFER__USERNAME="u", HOSTD_PEERS__BUFFER__PASSWORD=password).peers["buffer"]
    assert peer.password.get_secret_value() == password


def test_no_listing_shows_a_token_or_a_password_of_a_destination(config, monkeypatch, capsys):
    monkeypatch.setenv("TOKEN", "Bearer hunter2secret")
    path = config.write(
        '[dicomweb.cloud]\nurl = "https://x/"\nheader_env = { Authorization = "TOKEN" }\n'
        '[peers.buffer]\nurl = "https://y/"\nusername = "u"\npassword = "hunter2secret"\n'
    )
    settings = load(path)
    assert settings.dicomweb["cloud"].headers["Authorization"].get_secret_value() == "Bearer hunter2secret"
    for as_json in (True, False):
        show(path, as_json)
    shown = capsys.readouterr()
    assert "dicomweb.cloud" in shown.out
    for text in (shown.out, shown.err, repr(settings), settings.model_dump_json()):
        assert "hunter2secret" not in text
