"""The built-in script of `intone chat`; `intone chat --print-script` prints it as a template."""

EXAMPLE_SCRIPT = """\
# A script for `intone chat`: each [[turn]] is what the agent says.
title = "A parcel, a surprise, and an impatient caller"
words_per_second = 25              # how fast the language model writes

[[turn]]                           # neutral
text = "Hello, this is Ada from the parcel service. How can I help you?"

[[turn]]                           # the server analyzes the emotion of the text
text = "Oh no, I am so sorry to hear that! A parcel that arrives broken is really sad."

[[turn]]                           # an inline tag sets the emotion; it is not spoken
text = "[happy] But there is good news: a new one is already on its way to you!"

[[turn]]                           # the turn sets the emotion: a label with its intensity
emotion = "surprised:0.9"
text = "What? It was left out in the rain for two days?"

[[turn]]                           # a long answer, and the caller barges in
text = '''Let me tell you how this works. First we look at the photographs that you send us, then we ask the depot \
for its records, and within three working days you receive a letter with a form, which you sign, and then...'''
interrupt_after_ms = 2200

[[turn]]                           # follows the barge-in at once: the default of pause_ms is 0 here
text = "Of course, I will make it short. You get your money back today."

[[turn]]                           # the language model looks something up first; a filler covers the wait
think_ms = 1500
cover_after_ms = 300
text = "I have found it: it was order number seven hundred and twelve."

[[turn]]                           # skipped if no trained engine of the server speaks Chinese
language = "zh"
text = "好的，我马上为您办理退款。"

[[turn]]                           # eight weights: happy angry sad afraid disgusted melancholic surprised calm
emotion = [0.0, 0.9, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0]
text = "And honestly, I am furious that the driver just threw it over the fence!"
characters_per_second = 150

[[turn]]                           # numbers and symbols are read out as words
text = "The refund of $34.50 will reach your account on March 3rd. Is there anything else?"
pause_ms = 900

[[turn]]
emotion = "happy:0.4"              # weak: stays on the engine for neutral speech
text = "Thank you for calling, and have a lovely afternoon."
"""
