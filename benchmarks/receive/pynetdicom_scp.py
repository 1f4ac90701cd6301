"""`python -m benchmarks.receive.pynetdicom_scp PORT FOLDER`: a storage SCP as pynetdicom's documentation writes one: files, no index, no sync."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt


def main() -> None:
    """Serve until the process is ended."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    tempfile.tempdir = str(folder.parent)  # a file that has arrived is only renamed
    _config.STORE_RECV_CHUNKED_DATASET = True  # to a file as it arrives

    def keep(event: evt.Event) -> int:
        event.dataset_path.rename(folder / f"{event.request.AffectedSOPInstanceUID}.dcm")
        return 0

    ae = AE(ae_title="ANY")
    ae.maximum_associations = 20
    ae.maximum_pdu_size = 131072
    ae.supported_contexts = AllStoragePresentationContexts
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, keep)])


if __name__ == "__main__":
    main()
