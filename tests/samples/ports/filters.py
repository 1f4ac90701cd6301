"""The filters: of requests, of what is received, and of what goes out."""


def IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders):
    return method == "GET" or username == "admin"


def ReceivedInstanceFilter(dicom, origin, info):
    return info["HasPixelData"] or dicom["Modality"] == "SR"


def ReceivedCStoreInstanceFilter(dicom, origin, info):
    return 0 if dicom["PatientID"] else 0xA900


def OutgoingCStoreInstanceFilter(dicom, destination):
    return destination["Name"] != "sample" or dicom["BurnedInAnnotation"] != "YES"
