"""When a study is complete: say so in the log, and send a copy of it on whose description says where it went through."""


def on_stable_study(study, host):
    host.log(f"a study of {study.count} instances is complete; {len(study.new_instances)} are new")
    description = study.tags.text("StudyDescription")
    for instance in study.new_instances:  # what comes late follows alone
        changed = host.modify(instance, set={"StudyDescription": f"{description} (checked)"[:64]})
        host.forward(changed, to="archive")


def on_stable_series(series, host):
    host.log(f"a series of {series.count} instances is complete: {series.tags.Modality}")
