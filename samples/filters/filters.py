"""Decide before something happens: what is taken in, what goes out, who may ask for what by HTTP, and what a query asks."""


def filter_received_instance(instance, host):
    if instance.tags.Modality in host.config["unwanted"]:
        return host.discard("this modality is not kept here")  # the sender is told that all went well
    if not instance.patient_id:
        return host.refuse(0xA900, "no patient ID: correct it at the sender")  # the sender keeps it
    return host.accept()


def filter_outgoing_instance(instance, destination, host):
    if destination == "teaching" and instance.tags.BurnedInAnnotation != "NO":
        return host.discard("text may be burned into it")  # its delivery fails, with this reason
    return host.accept()


def filter_http_request(request, host):
    if request.method == "DELETE" and request.username not in host.config["may_delete"]:
        return host.refuse(403, "this user deletes nothing")
    return host.accept()


def filter_find(query, host):
    if query.origin.calling_aet in host.config["odd_keys_from"]:
        return host.accept(remove=[0x70531000])  # this workstation asks for a private element that nobody has
    return host.accept()
