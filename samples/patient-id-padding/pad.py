"""Pad the patient ID of one sender to its full length, and say who issued it."""


def filter_received_instance(instance, host):
    sender = host.config["calling_aet"]
    number = instance.patient_id
    if instance.origin.calling_aet != sender or not number:
        return host.accept()
    if not number.isdigit() or len(number) > host.config["digits"]:
        return host.refuse(0xA700, "the patient ID is not one of this department: correct it at the sender")
    return host.accept(
        set={
            "PatientID": number.zfill(host.config["digits"]),
            "IssuerOfPatientID": host.config["issuer"],
        }
    )
