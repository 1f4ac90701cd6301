"""Every route of Orthanc's REST API, as facts: those of 1.10.1 (`Orthanc --openapi`, and what that leaves out), and newer ones that clients call.

What differs from hostd's is told in docs/orthanc.md, "Every route".
"""

import re

_LEVELS = {
    "patients": ["studies", "series", "instances"],
    "studies": ["patient", "series", "instances"],
    "series": ["patient", "study", "instances"],
    "instances": ["patient", "study", "series"],
}
_EVERY_LEVEL = """
GET /LEVEL
GET /LEVEL/{}
DELETE /LEVEL/{}
POST /LEVEL/{}/anonymize
GET /LEVEL/{}/attachments
GET /LEVEL/{}/attachments/{}
PUT /LEVEL/{}/attachments/{}
DELETE /LEVEL/{}/attachments/{}
POST /LEVEL/{}/attachments/{}/compress
GET /LEVEL/{}/attachments/{}/compressed-data
GET /LEVEL/{}/attachments/{}/compressed-md5
GET /LEVEL/{}/attachments/{}/compressed-size
GET /LEVEL/{}/attachments/{}/data
GET /LEVEL/{}/attachments/{}/info
GET /LEVEL/{}/attachments/{}/is-compressed
GET /LEVEL/{}/attachments/{}/md5
GET /LEVEL/{}/attachments/{}/size
POST /LEVEL/{}/attachments/{}/uncompress
POST /LEVEL/{}/attachments/{}/verify-md5
GET /LEVEL/{}/labels
GET /LEVEL/{}/labels/{}
PUT /LEVEL/{}/labels/{}
DELETE /LEVEL/{}/labels/{}
GET /LEVEL/{}/metadata
GET /LEVEL/{}/metadata/{}
PUT /LEVEL/{}/metadata/{}
DELETE /LEVEL/{}/metadata/{}
POST /LEVEL/{}/modify
GET /LEVEL/{}/module
POST /LEVEL/{}/reconstruct
GET /LEVEL/{}/statistics
"""
_ABOVE_INSTANCES = """
GET /LEVEL/{}/archive
POST /LEVEL/{}/archive
GET /LEVEL/{}/instances-tags
GET /LEVEL/{}/media
POST /LEVEL/{}/media
GET /LEVEL/{}/shared-tags
"""
_PICTURES = """image-int16 image-uint16 image-uint8 matlab numpy preview rendered"""
_OTHERS = """
GET /
GET /changes
DELETE /changes
GET /exports
DELETE /exports
GET /plugins
GET /plugins/explorer.js
GET /plugins/{}
GET /statistics
GET /system

POST /instances
GET /instances/{}/content
GET /instances/{}/content/{}
POST /instances/{}/export
GET /instances/{}/file
GET /instances/{}/frames
GET /instances/{}/frames/{}
GET /instances/{}/frames/{}/raw
GET /instances/{}/frames/{}/raw.gz
GET /instances/{}/header
GET /instances/{}/pdf
GET /instances/{}/simplified-tags
GET /instances/{}/tags
GET /patients/{}/protected
PUT /patients/{}/protected
GET /series/{}/numpy
GET /series/{}/ordered-slices
POST /studies/{}/merge
GET /studies/{}/module-patient
POST /studies/{}/split

GET /jobs
GET /jobs/{}
DELETE /jobs/{}
POST /jobs/{}/cancel
POST /jobs/{}/pause
POST /jobs/{}/resubmit
POST /jobs/{}/resume
GET /jobs/{}/{}
DELETE /jobs/{}/{}

GET /modalities
GET /modalities/{}
PUT /modalities/{}
DELETE /modalities/{}
GET /modalities/{}/configuration
POST /modalities/{}/echo
POST /modalities/{}/find
POST /modalities/{}/find-instance
POST /modalities/{}/find-patient
POST /modalities/{}/find-series
POST /modalities/{}/find-study
POST /modalities/{}/find-worklist
POST /modalities/{}/get
POST /modalities/{}/move
POST /modalities/{}/query
POST /modalities/{}/storage-commitment
POST /modalities/{}/store
POST /modalities/{}/store-straight

GET /peers
GET /peers/{}
PUT /peers/{}
DELETE /peers/{}
GET /peers/{}/configuration
POST /peers/{}/store
POST /peers/{}/store-straight
GET /peers/{}/system

GET /queries
GET /queries/{}
DELETE /queries/{}
GET /queries/{}/answers
GET /queries/{}/answers/{}
GET /queries/{}/answers/{}/content
POST /queries/{}/answers/{}/query-instances
POST /queries/{}/answers/{}/query-series
POST /queries/{}/answers/{}/query-studies
POST /queries/{}/answers/{}/retrieve
GET /queries/{}/level
GET /queries/{}/modality
GET /queries/{}/query
POST /queries/{}/retrieve

GET /storage-commitment/{}
POST /storage-commitment/{}/remove

GET /tools
GET /tools/accepted-sop-classes
GET /tools/accepted-transfer-syntaxes
PUT /tools/accepted-transfer-syntaxes
POST /tools/bulk-anonymize
POST /tools/bulk-content
POST /tools/bulk-delete
POST /tools/bulk-modify
POST /tools/count-resources
GET /tools/create-archive
POST /tools/create-archive
POST /tools/create-dicom
GET /tools/create-media
POST /tools/create-media
GET /tools/create-media-extended
POST /tools/create-media-extended
GET /tools/default-encoding
PUT /tools/default-encoding
GET /tools/dicom-conformance
POST /tools/dicom-echo
POST /tools/execute-script
POST /tools/find
GET /tools/generate-uid
POST /tools/invalidate-tags
GET /tools/labels
GET /tools/log-level
PUT /tools/log-level
POST /tools/lookup
GET /tools/metrics
PUT /tools/metrics
GET /tools/metrics-prometheus
GET /tools/now
GET /tools/now-local
POST /tools/reconstruct
POST /tools/reset
POST /tools/shutdown
GET /tools/unknown-sop-class-accepted
PUT /tools/unknown-sop-class-accepted
"""
_LOGGED = "dicom generic http jobs lua plugins sqlite"


def expanded(path):
    """Return the paths that one of docs/http.md stands for: `{level}` and `{upper}` are each of the four levels, or of the upper three."""
    levels = list(_LEVELS) if "/{level}" in path else [level for level in _LEVELS if level != "instances"]
    if not path.startswith(("/{level}", "/{upper}")):
        return [path]
    return [path.replace("{level}", level).replace("{upper}", level) for level in levels]


def without_names(path):
    """Return a path with `{}` for each name that is given in it."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def _lines(text):
    return {tuple(line.split()) for line in text.splitlines() if line}


def _all():
    found = _lines(_OTHERS)
    for level, others in _LEVELS.items():
        found |= _lines(_EVERY_LEVEL.replace("LEVEL", level))
        found |= {("GET", f"/{level}/{{}}/{other}") for other in others}
        if level != "instances":
            found |= _lines(_ABOVE_INSTANCES.replace("LEVEL", level))
    for picture in _PICTURES.split():
        found |= {("GET", f"/instances/{{}}{below}/{picture}") for below in ("", "/frames/{}")}
    for category in _LOGGED.split():
        found |= {(method, f"/tools/log-level-{category}") for method in ("GET", "PUT")}
    return frozenset(found)


ORTHANC = _all()
"""`(method, path)`, with `{}` for what is a name."""

NAMESPACES = frozenset(path.split("/")[1] for _, path in ORTHANC) | {"dicom-web", "wado"}
"""First words of Orthanc's paths, with those of its DICOMweb plug-in: what hostd has under one of them is compared with Orthanc's."""
