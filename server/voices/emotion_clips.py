"""Uploaded recordings whose emotion utterances follow, kept in memory by the SHA-256 of their bytes."""

import hashlib
import threading
from collections import Counter, OrderedDict

from intone.server.errors import CallerError, Reason

MAX_EMOTION_CLIP_BYTES = 2 << 20


def check_size(data: bytes, field: str = "audio") -> None:
    """Check the size of an uploaded file.

    Raises:
        CallerError: it has more than `MAX_EMOTION_CLIP_BYTES` bytes (UPLOAD_TOO_LARGE).
    """
    if len(data) > MAX_EMOTION_CLIP_BYTES:
        message = f"has {len(data)} bytes; at most {MAX_EMOTION_CLIP_BYTES} are taken"
        raise CallerError(field, message, Reason.UPLOAD_TOO_LARGE, limit=MAX_EMOTION_CLIP_BYTES)


class EmotionClips:
    """The clips that were used last, up to a number of bytes. Thread-safe.

    Where they are too many, the caller who has most of them loses the one that was not used for the longest time.
    """

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes`: of all clips together; at least `MAX_EMOTION_CLIP_BYTES`, so that any clip fits."""
        assert max_bytes >= MAX_EMOTION_CLIP_BYTES, max_bytes
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._clips: OrderedDict[str, bytes] = OrderedDict()  # least recently used first
        self._owners: dict[str, str] = {}
        self._sizes: Counter[str] = Counter()  # bytes, by owner

    def add(self, uploaded: bytes, decoded: bytes, owner: str) -> str:
        """Keep a clip, as the sound file `decoded` that was made of what was `uploaded`.

        `owner`: who uploads it.

        Returns:
            Its id, the SHA-256 of `uploaded`, hexadecimal.
        """
        clip_id = hashlib.sha256(uploaded).hexdigest()
        with self._lock:
            if clip_id not in self._clips:
                self._clips[clip_id], self._owners[clip_id] = decoded, owner
                self._sizes[owner] += len(decoded)
            self._clips.move_to_end(clip_id)
            while self._sizes.total() > self._max_bytes:
                self._remove_one()
        return clip_id

    def _remove_one(self) -> None:
        ((most, _),) = self._sizes.most_common(1)
        oldest = next(clip_id for clip_id in self._clips if self._owners[clip_id] == most)
        self._sizes[most] -= len(self._clips.pop(oldest))
        del self._owners[oldest]
        self._sizes += Counter()  # leaves out owners without clips

    def get(self, clip_id: str, field: str) -> bytes:
        """The bytes of a clip, which then counts as used last.

        Raises:
            CallerError: there is no clip of this id (CLIP_NOT_FOUND, for `field`).
        """
        with self._lock:
            if clip_id not in self._clips:
                message = "names no clip that this server has, or has still; upload it again"
                raise CallerError(field, message, Reason.CLIP_NOT_FOUND)
            self._clips.move_to_end(clip_id)
            return self._clips[clip_id]
