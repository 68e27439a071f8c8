"""The conversation that `intone chat` performs when it is given none; also what one's own script begins from."""

EXAMPLE_SCRIPT = """\
# A script for `intone chat`: each [[turn]] is what the agent says.
title = "A parcel, a surprise, and an impatient caller"
words_per_second = 25              # how fast a language model writes

[[turn]]                           # plain talk
text = "Hello, this is Ada from the parcel service. How can I help you?"

[[turn]]                           # the emotion is read from the text, where the server can
text = "Oh no, I am so sorry to hear that! A parcel that arrives broken is really sad."

[[turn]]                           # a tag in the text; it is not spoken
text = "[happy] But there is good news: a new one is already on its way to you!"

[[turn]]                           # the emotion is asked for: a label with its intensity
emotion = "surprised:0.9"
text = "What? It was left out in the rain for two days?"

[[turn]]                           # a long answer, and the caller barges in
text = '''Let me tell you how this works. First we look at the photographs that you send us, then we ask the depot \
for its records, and within three working days you receive a letter with a form, which you sign, and then...'''
interrupt_after_ms = 2200

[[turn]]                           # at once after the barge-in: pause_ms is 0 here, where nothing is said
text = "Of course, I will make it short. You get your money back today."

[[turn]]                           # left out where no trained engine of the server speaks it
language = "zh"
text = "好的，我马上为您办理退款。"

[[turn]]                           # eight weights: happy angry sad afraid disgusted melancholic surprised calm
emotion = [0.0, 0.9, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0]
text = "And honestly, I am furious that the driver just threw it over the fence!"
characters_per_second = 150

[[turn]]                           # numbers and symbols are read out
text = "The refund of $34.50 will reach your account on March 3rd. Is there anything else?"
pause_ms = 900

[[turn]]
emotion = "happy:0.4"              # weak: stays with the engine for plain talk
text = "Thank you for calling, and have a lovely afternoon."
"""
