"""One alarm a destination and hour: to the people on duty when it stops working, and when a delivery to it is given up."""

HOUR_S = 3600


def on_destination_down(destination, host):
    alarm(destination.name, f"{destination.name} does not work: {destination.reason}", host)


def on_delivery_failed(delivery, host):
    alarm(delivery.destination, f"{delivery.destination} did not take delivery {delivery.id}: {delivery.answer}", host)


def on_destination_up(destination, host):
    host.notify("duty", f"{destination.name} works again; it was down since {destination.since:%H:%M} UTC.")


def alarm(destination, text, host):
    host.notify("duty", text, key=destination, at_most_every=HOUR_S)
