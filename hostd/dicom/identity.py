"""Who an instance is: the UIDs that name it, and Orthanc's identifiers, which clients rely on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

# PS3.5 §9.1: at most 64 characters, components of digits. Leading zeros are not allowed by the standard but occur in
# practice and harm nobody; anything else (a path, say) is refused, though no received text ever names a file.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_uid(text: str) -> bool:
    """Tell whether the text has the form of a UID (PS3.5 §9.1), leading zeros of a component let pass."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def orthanc_id(*parts: str) -> str:
    """Return Orthanc's identifier: SHA-1 of the joined parts, in five groups of eight hexadecimal digits."""
    digest = hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))


@dataclass(frozen=True, slots=True)
class Identity:
    """The four identifiers of an instance, without padding."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @property
    def patient(self) -> str:
        """Orthanc's identifier of the patient."""
        return orthanc_id(self.patient_id)

    @property
    def study(self) -> str:
        """Orthanc's identifier of the study."""
        return orthanc_id(self.patient_id, self.study_instance_uid)

    @property
    def series(self) -> str:
        """Orthanc's identifier of the series."""
        return orthanc_id(self.patient_id, self.study_instance_uid, self.series_instance_uid)

    @property
    def instance(self) -> str:
        """Orthanc's identifier of the instance."""
        return orthanc_id(self.patient_id, self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)
