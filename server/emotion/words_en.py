"""English cries and reproaches, words that change others, words that only look emotional: data only, our own choice.

They stand beside the feelings of `lexicon_en.py`, written as these are.
"""

# Hold in a question as well, and whatever stands before them.
RHETORICAL: dict[str, dict[float, str]] = {
    "happy": {
        0.6: """haha, hehe, lol, hahaha, isn't it wonderful, isn't it great, isn't that wonderful, isn't that great,
            isn't this fun, isn't it lovely, guess what, guess who, how cool is that, how great is that,
            how amazing is that, how wonderful""",
    },
    "angry": {
        0.85: """how dare you, how dare they, how dare, what is wrong with you, what's wrong with you,
            are you kidding me, are you deaf, are you blind, who do you think you are, what the hell,
            what were you thinking, why can't you just, are you out of your mind, is this a joke,
            do you think i'm stupid, what's the point of, what gives you the right, how many times do i have to,
            how could you, can you not, can't you see, can't you read, can't you be quiet, will you stop,
            would you stop, would you just, whose brilliant idea, whose bright idea, whose idea was this,
            what's your problem, what do you want from me, why do you always, why do you never, why would you do,
            why does this always, why is this so hard, why won't you, don't you have any, do i look like,
            are you stupid, are you even listening, do you have any idea how long, seriously can you,
            where is my refund, where's my money, where is my money, how is that my, how is this my, who asked you,
            you call this, happy now, are you happy now, satisfied now, what part of""",
        0.7: """this stupid, that stupid, stupid thing, damn thing, bloody thing, goddamn, fuck, fucking, bullshit,
            what the fuck, idiot, moron, would it kill you, will you shut up, shut up""",
        0.8: """who do you think you're, how hard is it, is it that hard, what are you waiting for, why is it so,
            why is nobody, why is no one, why hasn't, why haven't, did you even, have you no, don't you understand,
            can't you just, can you just stop, could you just stop, what's taking, what is taking""",
    },
    "surprised": {
        0.7: """are you serious, you're kidding, no kidding, did you really, did it just, did he just, did she just,
            did you just, did that just, you can speak, you know how to, who knew, since when do you,
            since when can you, what happened here, what just happened, you mean to tell me, you're telling me,
            are you telling me, is that you, is that really you, is it really you, how did you know,
            how did you do that, how is that possible, where did you come from, where did that come from, in one day,
            you live here, you made this, is that the time, how is that even, how is this even, how is it even,
            even possible, can you believe, is this some kind of joke, are my eyes, did i hear, who did this,
            you know each other, in a single day, since when, it's gone, you did what, he did what, she did what,
            they did what, you said what, what on earth is, what are you doing here, how in the""",
    },
}

# Whole sentences that end in a question or exclamation mark.
ALONE: dict[str, dict[float, str]] = {
    "surprised": {
        0.7: """what, wait what, wait, really, seriously, for real, oh, oh really, huh, you did, he did, she did,
            they did, already, since when, how, how so, who, me, no, impossible, oh wow, say what, pardon""",
    },
    "angry": {0.6: "enough, stop, out, quiet, never, nonsense, now, go"},
    "happy": {0.7: "yes, yeah, yes yes, oh yes, oh yeah, finally, at last, bingo, nice, great, perfect"},
}

SCALES: dict[float, str] = {
    1.25: """very, so, really, extremely, absolutely, incredibly, totally, completely, deeply, truly, super, terribly,
        utterly, insanely, such, such a, bloody, damn well, beyond, immensely, seriously, awfully, too, all too""",
    1.1: "quite, pretty, rather, genuinely, honestly, definitely, much, more, most",
    0.6: """a bit, a little, slightly, somewhat, kind of, kinda, sort of, sorta, mildly, a tad, fairly, a touch,
        almost""",
}

SCALES_AFTER: dict[float, str] = {1.25: "like never before, beyond words, to bits"}

NEGATIONS = """not, no, never, don't, doesn't, didn't, isn't, aren't, wasn't, weren't, won't, wouldn't, can't, cannot,
    couldn't, shouldn't, hardly, without, neither, nor, nothing, nobody, none, no one, no longer, no need to, haven't,
    hasn't, hadn't, stop being, ain't, dont, doesnt, didnt, isnt, wont, cant, far from"""

CONTRASTS = "but, however, yet, except that, and yet, still though"
CONCESSIONS = "although, though, even though, despite, in spite of"
SUPPOSITIONS = """if, whether, in case, unless, the word, the words, called, titled, named, a book about,
    an article about, a song about, a film about, a movie about, how to say, how do you spell, song is, film is,
    movie is, book is, album is, the book"""

# Look emotional, are not: politeness, names, idioms.
PLAIN = """can't stop, couldn't stop, can't help, couldn't help, can't help but, can't wait to hear from you,
    terrible twos, alone time, let alone, leave it alone, home alone, stand alone, holy spirit, holy land, goodness of,
    not only, happy to help, glad to help, happy to assist, be happy to, be glad to, happy to do, more than happy to,
    pleased to help, happy path, happy hour, happy hours, happy medium, happy meal, angry birds, mad max, mad hatter,
    great wall, great barrier, great depression, i'm sorry could you, sorry could you, sorry can you,
    sorry i didn't catch, sorry i didn't hear, sorry i missed, i'm sorry i didn't catch, sorry for the wait,
    sorry for the delay, sorry to keep you, sorry about that, sorry what was, sorry to bother you, sorry to interrupt,
    excuse me, no problem, no worries, don't worry, not to worry, never mind, nothing else, no rush, not at all,
    why not, not just, not sure, if you like, i'm afraid i, i'm afraid we, i'm afraid that, i'm afraid not,
    i'm afraid there, i'm afraid the, i'm afraid your, i'm afraid it, i am afraid i, i am afraid we, i am afraid that,
    i am afraid not, i am afraid there, i am afraid the, i am afraid your, i am afraid it, surprise party,
    surprise egg, no surprise, no wonder, wonder wheel, death rate,
    death toll, deadline, love letter, love letters, love story, fun facts, fun run, perfect tense, perfect square,
    past perfect, present perfect, cheers to, joystick, fear factor, horror film, horror movie, horror films,
    horror movies, panic button, panic room, shock absorber, shell shock, cry wolf, far cry, laugh track, laughing gas,
    stop sign, stop by, damn near, mad libs, great thanks, great thank you, great i've, great i have, great i'll,
    great let me, great your, great so, great question, sounds great, that's great to know, perfect i've, perfect i'll,
    perfect your, lovely i've, excellent choice, excellent i've, pleasure to meet you, nice to meet you, my pleasure,
    thanks for, thank you for, lost and found, lost property, sick leave, hell's kitchen, demand curve, on demand,
    in demand, demand for, supply and demand, for good measure, fun size, pretty much, painful periods, no fear,
    stress test, worry free, dark mode, blue screen, cold war, world war, war room, funeral home, funeral homes,
    it turns out that, how much, how many, gross income, gross weight, gross domestic, gross profit, gross margin,
    smiling face"""
