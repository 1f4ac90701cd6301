"""A download ends with its client: whoever goes away has nothing more packed for him."""

import asyncio
import io
import zipfile

import pytest
from starlette.requests import ClientDisconnect
from web_support import dicom_file, is_orthanc_error

from hostd.web.archives import _Zip


def endless(packed):
    while True:
        packed.append(1)
        yield b"x" * 1000


def answered(response, send, version):
    async def nothing():
        await asyncio.sleep(3600)

    scope = {"type": "http", "asgi": {"spec_version": version}}
    return asyncio.run(asyncio.wait_for(response(scope, nothing, send), 60))


def test_a_client_that_goes_away_ends_the_packing():
    packed, sent = [], []
    pieces = endless(packed)

    async def send(message):
        sent.append(message)
        if len(sent) > 4:
            raise OSError("the connection is gone")

    with pytest.raises(ClientDisconnect):
        answered(_Zip(next(pieces), pieces, "x.zip"), send, "2.4")
    assert pieces.gi_frame is None  # it is closed, and with it the file that it read
    assert len(packed) <= len(sent)


def test_what_fails_in_the_middle_is_not_ended_as_if_it_were_whole():
    sent = []

    def broken():
        yield b"first"
        raise RuntimeError("the file is missing")

    async def send(message):
        sent.append(message)

    pieces = broken()
    with pytest.raises(RuntimeError):
        answered(_Zip(next(pieces), pieces, "x.zip"), send, "2.4")
    assert [message.get("more_body") for message in sent] == [None, True]


def test_an_archive_is_one_of_what_is_stored(client):
    stored = client.post("/instances", content=dicom_file()).json()
    for answer in (
        client.get(f"/studies/{stored['ParentStudy']}/archive?filename=mine.zip"),
        client.post("/tools/create-archive", json=[stored["ID"]]),
    ):
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.namelist() == ["1CT1 CompressedSamples CT1/e1/CT/CT000000.dcm"]
            assert archive.read(archive.namelist()[0]) == dicom_file()
    assert is_orthanc_error(client.get("/studies/nope/archive"), 404, 17)
    assert is_orthanc_error(client.post("/tools/create-archive", json=["nope"]), 404, 17)
    assert is_orthanc_error(client.post("/tools/create-archive", json={"Resources": 7}), 400, 15)
    assert is_orthanc_error(client.get("/jobs/nope/archive"), 404, 7)
    assert is_orthanc_error(client.delete("/jobs/nope/archive"), 404, 7)


@pytest.mark.parametrize("body", ["", "5", '{"Priority": "high"}', '{"Synchronous": null}', '{"Transcode": null}'])
def test_what_an_archive_is_asked_for_wrongly_is_refused(client, body):
    stored = client.post("/instances", content=dicom_file()).json()
    path = f"/studies/{stored['ParentStudy']}/archive"
    assert is_orthanc_error(client.post(path, content=body), 400, 15)
