"""Synthetic speakers for training with many voices: mixtures of Kokoro's English and Mandarin voices.

A style vector of Kokoro has one half for the timbre and one for the prosody, and voices between two others sound like
voices of their own. A speaker has one timbre, mixed from all voices of one sex, and a prosody for each language, mixed
from the voices that speak it. All is a function of the speaker's number, so nothing has to be stored.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.shards import Audio

STYLE_NUMBERS = 256
"""Numbers of a style vector: first the timbre, then the prosody."""

VOICES_SHA256 = {
    "af_alloy": "c4a6b876047fd7fb472edf4ebd63cfac7c3b958a7cae7c106e8f038ca6308c45",
    "af_aoede": "4a004c33430762e2461eedb2013fad808ef4ab3121f5300f554476caf58d8361",
    "af_bella": "f69d836209b78eb8c66e75e3cda491e26ea838a3674257e9d4e5703cbaf55c8b",
    "af_heart": "d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b",
    "af_jessica": "a240a5e3c15b43563d6e923bdca8ef5613a23471d9b77653694012435df23bd8",
    "af_kore": "9be5221b6a941c04b561959b8ff0b06e809444dcc4ab7e75a7b23606f691819e",
    "af_nicole": "cd2191ab31b914ed7b318416b0e4440fdf392ddad9106a060819aa600a64f59a",
    "af_nova": "18778272caa0d0eebaea251c35fd635f038434f9eee5e691d02a174bd328414f",
    "af_river": "00a2bcf82b1d86e8f19902ede58c65ccf6c0e43b44b7d74fad54e5d8933c9c30",
    "af_sarah": "4409fbc125afabacc615d94db5398d847006a737b0247d6892b7a9a0007a2f0a",
    "af_sky": "4435255c9744f3f31659e0d714ab7689bf65d9e77ec1cce060f083912614f0b9",
    "am_adam": "162b035ed91cfc48b6046982184c645f72edcdd1b82843347f605d7bf7b15716",
    "am_echo": "3968b92c3c4cd1c4416dbded36c13eaa388a90d5788d02a13e4d781f5f8cf3c3",
    "am_eric": "e8b5be17edd1e3636901ce7598baafe2dc8dd8ff707a0c23bf9e461add7e2832",
    "am_fenrir": "c27989f741f7ee34d273a39d8a595cc0837d35f5ced9a29b7cc162614616df43",
    "am_liam": "52403be32fd047c6a44517cb0bcd6b134f2a18baa73e70ef41651e0eab921ade",
    "am_michael": "1d1f21dd8da39c30705cd4c75d039d265e9bc4a2a93ed09bc9e1b1225eb95ba1",
    "am_onyx": "da5d135b424164916d75a68ffb4c2abce3d7d5ccc82dd1ee6cf447ce286145e6",
    "am_puck": "fcf73c989033e9233e0b98713eca600c8c74dcc1614b37009d5450ff4a2274a0",
    "am_santa": "61150cf726ab6c5ed7a99f90a304f91f5a72c00c592e89ec94e5df11c319227a",
    "bf_alice": "08afa6ba24da61ea5e8efa139e5aadc938d83f0a6da5a900adaf763ac1da5573",
    "bf_emma": "669fe0647f9dd04fcab92f1439a40eeb4c8b4ab1f82e4996fe3d918ce4a63b73",
    "bf_isabella": "3754352c4aaa46d17f27654ab7518d65b62ad6163a0f55a5f4330c2da2c4e94f",
    "bf_lily": "5e0ee32ebe64a467124976b14e69590746f1c4ce41a12b587a50c862edfea335",
    "bm_daniel": "6b3194bbceffb746733cbc22c8f593dd44e401a71d53895a2dca891bc595a1e8",
    "bm_fable": "f889083196807b4adb15e9204252165f503b8d33d3982e681c52443c49d798f1",
    "bm_george": "c4b235a4c1f2cd3b939fed08b899ce9385638b763f7b73a59616c4fc9bd6c9bc",
    "bm_lewis": "b8f671cef828c30e66fdf0b0756a76bba58f6bb3398cbbf27058642acbcedb97",
    "zf_xiaobei": "5dde6e1c9c4f12c8b327bc29c0cee361a23b52b952c04636858ba637ec66e640",
    "zf_xiaoxiao": "03adb5d5e3ddd88b047954e974e651cb0a4b524c985057e5d872e962c7be1169",
    "zf_xiaoyi": "bc1555c5c486099196ac254bae5e0bb543c121952a3092f50b7d8724f1bc36b3",
    "zm_yunjian": "de48a00bdbf3649f07162269a2b6e0513604389bfac8a2e6c75cb34b323ad6fa",
    "zm_yunxi": "7243892fb4e560d47014090ddf010f8b8b790f3c6b029ff82b2ac06aa4e27c8b",
    "zm_yunxia": "6b2b8fc15b3df19a368daebe5c581c7fabf433ee5b8a17ffd6b3d723cff8936d",
    "zm_yunyang": "261e2c89470534dbbcb8fd98b8fdc495ec94063d9bb6c8277f7be43cccba3f42",
}
"""The voices of kokoro-js 1.2.1 that are mixed, with the checksums of their files. The second letter of a name is the
sex, the first the language: American and British English, Mandarin. The Mandarin voice zf_xiaoni is left out, because
Whisper base has a CER of 31 % on it."""

LANGUAGES = {"en": "ab", "zh": "z"}
"""Language → first letters of the voices that speak it."""

Mixture = Sequence[tuple[str, float]]
"""Voices and their weights, which sum to 1."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A synthetic speaker of one language."""

    timbre: Mixture
    prosody: Mixture

    def style(self, voice: Callable[[str], Audio]) -> Audio:
        """Style vectors `[n, STYLE_NUMBERS]`, given those of a named voice `[n, STYLE_NUMBERS]`."""
        half = STYLE_NUMBERS // 2
        timbre, prosody = (
            np.sum([weight * voice(name) for name, weight in part], axis=0) for part in (self.timbre, self.prosody)
        )
        result: Audio = np.concatenate((timbre[:, :half], prosody[:, half:]), 1).astype(np.float32)
        return result


def speaker(number: int, language: str) -> Speaker:
    """The speaker of that number; even numbers are female. The timbre is the same in all languages.

    Raises:
        KeyError: unknown language.
    """
    first, sex = LANGUAGES[language], "fm"[number % 2]
    timbres = [name for name in VOICES_SHA256 if name[1] == sex]
    prosodies = [name for name in timbres if name[0] in first]
    return Speaker(_mixed(timbres, f"timbre {number}"), _mixed(prosodies, f"{language} {number}"))


def _mixed(names: Sequence[str], seed: str) -> Mixture:
    """Two of the voices; the first has at least half of the weight."""
    rng = random.Random(seed)
    one, other = rng.sample(names, 2)
    weight = rng.uniform(0.5, 1)
    return ((one, weight), (other, 1 - weight))
