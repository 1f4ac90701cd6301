"""send-to-peer-with-retry, robust-forwarder: there is nothing to write; a delivery is tried again until it arrives."""


def OnStoredInstance(instanceId, tags, metadata, origin):
    Delete(SendToPeer(instanceId, "buffer"))
