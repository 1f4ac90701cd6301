"""AutomatedJpeg2kCompression, and the middleman that transcodes: what is not compressed goes on as JPEG 2000."""

J2K = "1.2.840.10008.1.2.4.90"


def OnStoredInstance(instanceId, tags, metadata, origin):
    if origin["RequestOrigin"] == "Lua" or metadata["TransferSyntax"] == J2K:
        return
    compressed = RestApiPost(
        "/instances/" + instanceId + "/modify", DumpJson({"Transcode": J2K, "Keep": ["SOPInstanceUID"], "Force": True})
    )
    RestApiPost("/modalities/sample/store-straight", compressed)
    Delete(instanceId)
