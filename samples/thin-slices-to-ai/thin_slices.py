"""Send each thin-slice CT series to the AI server: once, whole, when nothing more of it comes."""

THIN_MM = 1.5


def on_stable_series(series, host):
    first = series.first
    if series.tags.Modality != "CT" or first is None:
        return
    thickness = first.tags.SliceThickness
    is_localizer = "LOCALIZER" in first.tags.text("ImageType")
    if thickness is None or thickness > THIN_MM or is_localizer:
        return
    host.forward(series, to="ai", priority="high")  # again, when more came late: then only what the server has not had
