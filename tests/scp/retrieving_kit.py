"""A node that holds made instances, whom it serves, and how it is asked."""

import io

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from hostd.archive import retrievals
from hostd.config.settings import Settings
from hostd.dicom import data_sets
from hostd.dicom.part10 import data_set_offset
from hostd.dicom.retrieve import GETS, STUDY_ROOT_MOVE
from hostd.dimse import commands, scu
from hostd.dimse.associate import Proposal, decode_acceptance, encode_request
from hostd.node import Node
from hostd.testing.instances import made

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
J2K, JPEG = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = "1.2.826.0.1.3680043.10.1"


def file_of(number, **elements):
    """Return the bytes of a made CT image."""
    written = io.BytesIO()
    ds = made(number, pixels=True, elements={"Modality": "CT"})
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    dcmwrite(written, ds, enforce_file_format=True)
    return written.getvalue()


class Holder:
    """The node."""

    def __init__(self, folder, *, modalities=None, dicom=None, **more):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.asker = {"aet": "ASKER", "host": "127.0.0.1", "port": 104}
        self.given = {
            "node": {"data": folder / "data", "scripts": folder / "scripts", "min_free_mb": 0},
            "dicom": {"port": 0, **(dicom or {})},
            "http": {"enabled": False},
            "modalities": {"asker": self.asker, **(modalities or {})},
            **more,
        }
        self.start()

    def start(self):
        self.node = Node(Settings(**self.given), run_scripts=False)
        self.node.start()
        self.archive = self.node.archive
        self.port = self.node.dicom.port

    def stop(self):
        self.node.stop()

    def store(self, *files):
        """Send it files; return the SOP Instance UIDs."""
        uids = []
        for content in files:
            start = data_set_offset(io.BytesIO(content))
            ds = dcmread(io.BytesIO(content), stop_before_pixels=True)
            with self.connect([(ds.SOPClassUID, [start.transfer_syntax_uid])]) as association:
                body = io.BytesIO(content[start.offset :])
                answer = association.store(ds.SOPClassUID, ds.SOPInstanceUID, start.transfer_syntax_uid, body, None)
            assert answer.status == 0, answer
            uids.append(str(ds.SOPInstanceUID))
        return uids

    def connect(self, contexts, aet="ASKER"):
        return scu.connect("127.0.0.1", self.port, calling_aet=aet, called_aet="HOSTD", contexts=contexts)

    def retrievals(self):
        """Return the newest retrieval first, each with what became of its instances."""
        with self.archive.read() as connection:
            found = retrievals.listing(connection)
            return [(one, retrievals.sent(connection, one.id)) for one in found]


def identifier(level="STUDY", **keys):
    ds = Dataset()
    if level is not None:
        ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return data_sets.encode(ds, IMPLICIT)


class Asker:
    """One that asks by hand, and takes what it gets as it is told."""

    def __init__(self, wire, kit, *, sop_class=STUDY_ROOT_MOVE, storage=(), aet="ASKER", role=b"\0\1"):
        self.wire, self.kit = wire, kit
        proposals = [Proposal(1, sop_class, (IMPLICIT,))]
        proposals += [Proposal(2 * n + 3, CT, tuple(syntaxes)) for n, syntaxes in enumerate(storage)]
        request = encode_request(calling_aet=aet, called_aet="HOSTD", proposals=proposals, max_pdu=65536)
        if sop_class in GETS:
            request = with_role(request, CT, role)
        wire.send(request)
        self.pdu_type, body = wire.pdu()
        self.results, self.user = decode_acceptance(body) if self.pdu_type == 2 else (None, None)
        self.sop_class = sop_class
        self.status = lambda uid: 0
        self.before_answer = lambda: None
        self.got = {}

    def ask(self, data_set, *, destination=None, message_id=7):
        elements = [
            (commands.AFFECTED_SOP_CLASS_UID, commands.uid(self.sop_class)),
            (commands.COMMAND_FIELD, commands.us(commands.C_GET_RQ if self.sop_class in GETS else commands.C_MOVE_RQ)),
            (commands.MESSAGE_ID, commands.us(message_id)),
        ]
        if destination is not None:
            elements.append((commands.MOVE_DESTINATION, destination.encode().ljust(16)))
        elements += [(commands.PRIORITY, commands.us(0)), (commands.COMMAND_DATA_SET_TYPE, commands.us(1))]
        self.wire.send(self.kit.p_data(self.kit.pdv(commands.encode(elements), command=True), self.kit.pdv(data_set)))

    def store(self, content, *, context):
        """Send an instance on one of the contexts; return the status of the answer."""
        offset = data_set_offset(io.BytesIO(content)).offset
        ds = dcmread(io.BytesIO(content), stop_before_pixels=True)
        command = commands.store_request(message_id=3, sop_class_uid=CT, sop_instance_uid=ds.SOPInstanceUID, priority=0)
        for pdv in (
            self.kit.pdv(command, context=context, command=True),
            self.kit.pdv(content[offset:], context=context),
        ):
            self.wire.send(self.kit.p_data(pdv))
        return self.wire.response()[0]

    def cancel(self, message_id=7):
        command = commands.encode(
            (
                (commands.COMMAND_FIELD, commands.us(commands.C_CANCEL_RQ)),
                (commands.MESSAGE_ID_BEING_RESPONDED_TO, commands.us(message_id)),
                (commands.COMMAND_DATA_SET_TYPE, commands.us(commands.NO_DATA_SET)),
            )
        )
        self.wire.send(self.kit.p_data(self.kit.pdv(command, command=True)))

    def message(self):
        """Return the next message: its command, its context, its data set."""
        command, data, context = b"", b"", None
        while True:
            kind, body = self.wire.pdu()
            assert kind == 4, (kind, body)
            position = 0
            while position < len(body):
                length = int.from_bytes(body[position : position + 4])
                context, control = body[position + 4], body[position + 5]
                fragment = body[position + 6 : position + 4 + length]
                position += 4 + length
                if control & 1:
                    command += fragment
                else:
                    data += fragment
                if control & 2:
                    decoded = commands.decode(command)
                    if not control & 1 or not decoded.has_data_set:
                        return decoded, context, data

    def ended(self):
        """Take what comes until the final response; return the responses as (status, remaining, completed, failed, warning), and the last one's data set."""
        responses = []
        while True:
            command, context, data = self.message()
            if command.command == commands.C_STORE_RQ:
                uid = command.text(commands.AFFECTED_SOP_INSTANCE_UID)
                self.got[uid] = (self.results[context][1], data, command)
                self.before_answer()
                answer = commands.response(command, self.status(uid))
                self.wire.send(self.kit.p_data(self.kit.pdv(answer, command=True, context=context)))
                continue
            status = command.number(commands.STATUS)
            responses.append((status, *(command.number(element) for element in range(0x1020, 0x1024))))
            if status not in (0xFF00, 0xFF01):
                failed = data_sets.decode(data, IMPLICIT).get("FailedSOPInstanceUIDList") if data else None
                listed = [failed] if isinstance(failed, str) else list(failed or ())
                return responses, listed, command.text(commands.ERROR_COMMENT)


def with_role(request, sop_class, role=b"\0\1"):
    """Return an A-ASSOCIATE-RQ that also proposes to be SCP of a SOP class, and its SCU only if `role` says so."""
    uid = sop_class.encode()
    body = len(uid).to_bytes(2) + uid + role
    item = b"\x54\0" + len(body).to_bytes(2) + body
    user = request.rindex(b"\x50\0")
    length = int.from_bytes(request[user + 2 : user + 4]) + len(item)
    whole = request[: user + 2] + length.to_bytes(2) + request[user + 4 :] + item
    return whole[:2] + (len(whole) - 6).to_bytes(4) + whole[6:]
