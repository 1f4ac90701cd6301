"""When the archive does not work, tell the people on duty, and send what waits for it to the second archive instead."""

HOUR_S = 3600


def on_destination_down(destination, host):
    if destination.name != "archive":
        return
    text = f"the archive does not work ({destination.reason}): what waits for it goes to the second one"
    host.notify("duty", text, key=destination.name, at_most_every=HOUR_S)
    host.redirect(destination, to="second")


def on_action_done(action, host):
    if action.verb == "redirect" and action.state == "failed":
        host.notify("duty", f"what waits for the archive waits on: {action.reason}", at_most_every=HOUR_S)


def on_stored_instance(instance, host):
    host.forward(instance, to="archive")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
