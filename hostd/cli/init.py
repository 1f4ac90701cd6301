"""`hostd init`: a configuration and a script to start from. What is there is never overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hostd.cli.config import DEFAULT_FILE
from hostd.cli.looking import refuse

CONFIGURATION = """\
# A node of hostd. Every line that begins with '#' shows a setting that may be changed; without it the default holds.
# All settings: docs/configuration.md. What is wrong with this file: `hostd config check hostd.toml`.

[node]
data = "./hostd-data"               # index and files; created for its owner alone
scripts = "./scripts"               # every NAME.py in it is a script, and runs
# name = "hostd"
# trash_days = 1                    # days that a deleted file waits before its bytes go

[dicom]
host = "127.0.0.1"                  # this machine only; "0.0.0.0" lets others send
port = 4242
aets = ["HOSTD"]                    # the AE titles that it answers to

[http]
host = "127.0.0.1"                  # beyond this machine only with [users.NAME]
port = 8042

# [ingest]
# transcode_to = "j2k"              # compress what arrives, without loss

[scripting]
reload = "auto"                     # "manual": an edit of a script waits for `hostd deploy`

# A destination by DICOM, and one by HTTP (Orthanc, or another hostd). Scripts name them: host.forward(instance, to="archive")
# [modalities.archive]
# aet = "ARCHIVE"
# host = "192.0.2.7"
# port = 104
#
# [peers.buffer]
# url = "https://buffer.example/"
# username = "hostd"
# password_file = "/run/secrets/buffer"
#
# And a folder, which must exist.
# [folders.export]
# path = "/srv/export"
# template = "{PatientID}/{StudyDate}/{Modality}/{SOPInstanceUID}.dcm"

# What one script may do. Without an entry it may read, log, label, compress without loss and send to every destination; what deletes,
# changes or loses anything it may only by its entry.
# [scripts."arrivals.py"]
# destinations = ["archive"]        # there and nowhere else
# may = ["delete"]
# time_limit_s = 5
"""

EXAMPLE = '''\
"""Write a line for each instance that arrives: what it is, never whose it is. Edit it while hostd runs."""


def on_stored_instance(instance, host):
    modality = instance.tags.Modality
    host.log(f"{modality} in {instance.transfer_syntax.keyword}, {instance.size} bytes")
    # Once [modalities.archive] is in hostd.toml, this sends it what is computed tomography, compressed without loss:
    # if modality == "CT":
    #     host.forward(host.transcode(instance, "j2k"), to="archive")


# Other functions are called when other things happen: on_stable_study(study, host), on_delivery_failed(delivery, host),
# and by the clock, under @every(minutes=10) or @cron("0 2 * * *"). docs/scripts.md lists them all; samples/ has recipes.
'''


def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where; it is made if need be.")] = Path(),
) -> None:
    """Write a commented hostd.toml and a first script to start from. Exit code 1: there is one; nothing was written."""
    file, script = folder / DEFAULT_FILE, folder / "scripts" / "arrivals.py"
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write(file, CONFIGURATION)
        script.parent.mkdir(mode=0o755, exist_ok=True)
        written = [file]
        if not any(script.parent.iterdir()):  # scripts that are there are the user's own
            _write(script, EXAMPLE)
            written.append(script)
    except FileExistsError as error:
        raise refuse(f"{error.filename} is there already, and is left as it is") from error
    except OSError as error:
        raise refuse(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    typer.echo("written: " + ", ".join(map(str, written)))
    typer.echo(f"next: look through {file}, then `hostd config check {file}` and `hostd run {file}`")
    if script in written:
        typer.echo(
            f"what the script would do with a file, without doing it: `hostd try {script} FILE.dcm --config {file}`"
        )
    typer.echo(
        "send to it with any DICOM sender: 127.0.0.1, port 4242, AE title HOSTD; or by HTTP: "
        "`curl --data-binary @FILE.dcm http://127.0.0.1:8042/instances`"
    )
    typer.echo(
        "an edit of a script takes over at once; `hostd scripts` shows how scripts fare, `hostd explain` what became of an image"
    )


def _write(path: Path, text: str) -> None:
    """Write a new file that only its owner may change. Raises `FileExistsError`."""
    with path.open("x", encoding="utf-8") as file:
        path.chmod(0o600 if path.name == DEFAULT_FILE.name else 0o644)
        file.write(text)


__all__ = ["CONFIGURATION", "EXAMPLE", "init"]
