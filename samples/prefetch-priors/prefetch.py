"""When a study begins, have the PACS send the two newest earlier ones of the patient."""


def on_new_study(study, host):
    if study.patient_id == "" or all(origin.modality == "pacs" for origin in study.origins):
        return  # who the patient is is not known, or it is a prior itself
    until = study.tags.text("StudyDate")
    try:
        known = host.query("pacs", "study", PatientID=study.patient_id, StudyDate=f"-{until}" if until else "")
    except ValueError as error:
        host.log(f"no priors: {error}", level="warning")
        return
    priors = [one for one in known if one.StudyInstanceUID != study.study_instance_uid]
    priors.sort(key=lambda one: one.get("StudyDate", ""), reverse=True)
    for prior in priors[: host.config["priors"]]:
        host.retrieve("pacs", study=prior.StudyInstanceUID)


def on_action_done(action, host):
    if action.state != "done":
        host.log(f"a prior did not come: {action.reason}", level="warning")
