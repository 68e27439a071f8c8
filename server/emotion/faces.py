"""Emoji and emoticons that show emotion, with their strength: data only, for `lexicon.py`."""

FACES: dict[str, dict[float, str]] = {
    "happy": {
        0.7: "😀, 😃, 😄, 😁, 😆, 😂, 🤣, 😍, 🥰, 😘, 🤩, 🥳, 🎉, 🎊, 💃, ❤️, 💖, 💕, 😻, :D, =D, ^_^, ^o^, ^.^, xD",
        0.5: "😊, 🙂, ☺️, 😇, 😉, 😋, 😎, 👍, 👏, 🙌, ✨, 🌞, 🍾, 🥂, <3, :), :-), =), ;), ;-), QwQ",
    },
    "angry": {0.75: "😠, 😡, 🤬, 👿, 😤, 💢, 🖕", 0.5: "😒, 🙄, 😑, 👎"},
    "sad": {
        0.75: "😢, 😭, 😿, 💔, 😥, 🥺, :'(, T_T, T.T, QAQ, TAT",
        0.55: "😞, 😔, 🙁, ☹️, 😟, 😣, 😩, 😫, :(, :-(, =(, orz",
    },
    "afraid": {0.7: "😨, 😰, 😱, 🫣, 😖"},
    "disgusted": {0.7: "🤢, 🤮"},
    "surprised": {0.7: "😲, 😮, 😯, 🤯, 😳, 🙀, :o, :O, =O, o_O, O_o"},
    "calm": {0.5: "😌, 🧘, 🕊️"},
}
