"""Fetch from the PACS, every ten minutes, what of today's studies is not here yet."""

from hostd.api import every


@every(minutes=10)
def fetch(host):
    today = host.now().strftime("%Y%m%d")
    for study in host.query("pacs", "study", StudyDate=today, ModalitiesInStudy=host.config["modality"], limit=1000):
        if not host.find("study", StudyInstanceUID=study.StudyInstanceUID):
            host.retrieve("pacs", study=study.StudyInstanceUID)
