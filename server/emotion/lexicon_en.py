"""English words and phrases that show emotion, with their strength: data only, our own choice, for `lexicon.py`.

Entries stand between commas; a `~` adds the inflections of the last word. The longest entry that begins at a word wins,
so a phrase in PLAIN takes the word in it away from the others.
"""

FEELINGS: dict[str, dict[float, str]] = {
    "happy": {
        0.9: """thrilled, overjoyed, ecstatic, elated, over the moon, on cloud nine, best day of my life,
            best day ever, jumping for joy, happiest, so happy for you, couldn't be happier, could not be happier,
            never been happier, can't stop smiling, dream come true, congratulations, we did it""",
        0.75: """delighted, delight, joy, joyful, joyous, happier, hooray, hurray, yay, yippee, woohoo, woo hoo,
            congrats, fantastic, wonderful, amazing, awesome, marvelous, marvellous, excited, exciting, can't wait,
            cannot wait, celebrate~, hilarious, haha, hahaha, hehe, lol, lmao, rofl, made my day, cracked me up,
            great news, good news, wonderful news, lifesaver, life saver, love it, loved it, love you, loves it,
            loving it, happy birthday, merry christmas, happy new year, happy anniversary, happy holidays,
            happy easter, flying colours, flying colors, we won, i won, you won, got the job, happily ever after,
            so proud of you, proud of you, having a baby, thank goodness, thank god""",
        0.6: """happy, glad, cheerful, happily, gladly, pleased, enjoy~, well done, great job, good job, nice work,
            good work, way to go, so much fun, had fun, great time, good time, lovely, adorable, cute, so sweet,
            brilliant, superb, relieved, relief, phew, grateful, proud, blessed, lucky, luckily, laugh~, giggle~,
            smile~, cheers, perfect, you passed, i passed, promoted, delicious, beautiful, excellent, i love,
            fortunate, aw, aww, bravo, safe and sound, you got it, you made it, we made it, i made it, what a day,
            sweetheart, fun""",
        0.45: """great, can't complain, not bad, pretty good, feel good, feeling good, feels good, looking forward to,
            good for you, fun fact, pleasure, funny, thank you so much, thanks so much, nice one, sweet, glorious,
            welcome aboard, welcome home, good luck, satisfied""",
    },
    "angry": {
        0.95: """furious, livid, enraged, outraged, makes my blood boil, fuck~, fuck you, i hate you, go to hell,
            get the hell out, you bastard, how could you do this, seething, fuming""",
        0.8: """outrageous, unacceptable, infuriating, infuriated, rage, shut up, sick and tired, sick of, fed up,
            had enough, enough is enough, get lost, get out, leave me alone, get off my, go away, stop it, back off,
            drives me crazy, driving me crazy, drives me mad, disgrace, disgraceful, idiot, idiots, moron, morons,
            bullshit, asshole, bitch, damn you, wasting my time, waste my time, liar, you lied, ruined everything,
            money back, bastard, for god's sake, for heaven's sake, don't you dare, don't you ever, last straw,
            the nerve to, had the nerve, worst service, lost my temper, no excuse, no excuses""",
        0.65: """angry, angrily, anger, mad at, pissed off, pissed, hate, annoy~, irritate~, irritating, frustrate~,
            frustrating, ridiculous, useless, stupid, dumb, pathetic, incompetent, rip off, ripped off, scam, damn,
            dammit, damn it, goddamn, bloody hell, for crying out loud, i can't stand, cannot stand, intolerable,
            not happy with, unhappy with, complaint against, complain about, your excuses, a hundred times,
            a thousand times, a million times, rude, insult~, resent~, not this again, not again, what a joke,
            absolute joke, speak to your manager, talk to your manager, see your manager, speak to a manager, hell,
            unfair, cheated, how many times, lie to me, lied to me, lying to me, garbage, terrible service,
            give me a break, knock it off, i demand, cut it out, stop lying, stop calling""",
        0.5: "ugh, argh, grr, crap, nonsense, jerk, freaking, mad, lousy, i don't care",
    },
    "sad": {
        0.9: """heartbroken, heart broken, devastated, devastating, grieving, grief, mourn~, sorry for your loss,
            breaks my heart, broke my heart, break my heart, in tears, crying all, cried all, passed away,
            my condolences, deepest condolences, inconsolable, cried myself to sleep, unbearable, bawling""",
        0.75: """sad, sadder, saddest, sadly, sadness, saddened, sorrow~, heartbreaking, tragic, tragedy, cry, cried,
            crying, cries, weep~, sob~, tears, miserable, misery, in despair, despair~, hopeless, i miss, miss you,
            miss him, miss her, miss them, missing you, lost my mother, lost my father, lost my dog, lost my cat,
            gone forever, never come back, never came back, never coming back, died, so sorry to hear,
            sorry to hear that, sorry to hear about, bad news, terrible news, sad news, gutted, let everyone down,
            let you down, let me down, let them down, can't do this anymore, can't go on, feel terrible, feel awful,
            farewell, wish i could have, wish i had, if only, say goodbye, said goodbye, funeral, broken heart,
            rest in peace""",
        0.6: """unhappy, disappoint~, disappointed, disappointing, disappointment, upset, depressed, lonely,
            loneliness, regret, regrets, regretted, regrettably, unfortunately, hurts, hurting, painful, poor thing,
            what a shame, it's a shame, that's a shame, a pity, too bad, alas, we lost, i lost, he lost, she lost,
            they lost, not good enough, wasn't good enough, broke up, breaking up, tough time, hard time, feel down,
            feeling down, really down, so down, nobody cares, no one cares, never forget you, never see him again,
            never see her again, deeply sorry, truly sorry, gave up hope, didn't make it, homesick""",
        0.45: "hurt, goodbye, sigh, sighs, i failed, it failed again, terribly sorry, so sorry",
    },
    "afraid": {
        0.9: "terrified, terrifying, petrified, panicking, scared to death, horrified, oh no oh no, help me",
        0.7: """afraid, scared, scary, frighten~, frightened, frightening, fear, fearful, horror, dread~, panic,
            creepy, spooky, don't hurt me, we're going to die, i'm going to die, someone is following""",
        0.5: """worried, worry~, nervous, nervously, anxious, anxiously, anxiety, uneasy, afraid of, watch out,
            look out""",
    },
    "disgusted": {
        0.85: """disgusting, disgusted, disgusts, revolting, repulsive, nauseating, makes me sick,
            makes me want to vomit""",
        0.65: "gross, yuck, yucky, eww, ew, ick, nasty, filthy, vile, vomit, stinks, sickening, rotten",
    },
    "melancholic": {
        0.7: """melancholy, melancholic, gloomy, bittersweet, wistful, nostalgic, nostalgia, down in the dumps,
            forlorn""",
        0.6: """feeling blue, feel blue, nothing matters, nothing seems to matter, nothing really matters, weary,
            those were the days, feel empty""",
    },
    "surprised": {
        0.85: """oh my god, oh my gosh, oh my goodness, omg, unbelievable, speechless, stunned, astonished,
            astonishing, flabbergasted, jaw dropped, mind blown, mind blowing, can't believe it, cannot believe it,
            did not see that coming, didn't see that coming, out of nowhere, holy cow, holy moly, holy crap,
            taken aback, no freaking way, wait what, shocked, shocking, thunderstruck""",
        0.7: """surprised, surprise, surprising, surprisingly, amazement, incredible, incredibly, can't believe,
            cannot believe, couldn't believe, whoa, woah, wow, no way, had no idea, unexpected, unexpectedly, startle~,
            startled, who would have thought, who would've thought, who knew, never would have guessed, what the,
            blimey, gosh, gee, goodness me, my goodness, good heavens, good grief, wtf, for real, never expected,
            nobody expected, out of the blue, are you serious, you're joking, you must be joking, how on earth,
            how in the world, what on earth""",
        0.5: "huh, since when, all along, of all people, imagine that",
        0.35: "turns out, suddenly, strange, weird",
    },
    "calm": {
        0.5: "take a deep breath, breathe in, breathe out, stay calm, calm, calmly, relax, relaxed, peaceful, serene",
    },
}

# Hold in a question as well, and whatever stands before them.
RHETORICAL: dict[str, dict[float, str]] = {
    "angry": {
        0.85: """how dare you, how dare they, how dare, what is wrong with you, what's wrong with you,
            are you kidding me, are you deaf, are you blind, who do you think you are, what the hell,
            what were you thinking, why can't you just, are you out of your mind, is this a joke,
            do you think i'm stupid, what's the point of, what gives you the right, how many times do i have to""",
    },
    "surprised": {
        0.7: "are you serious, are you sure, you're kidding, no kidding, did you really",
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

NEGATIONS = """not, no, never, don't, doesn't, didn't, isn't, aren't, wasn't, weren't, won't, wouldn't, can't, cannot,
    couldn't, shouldn't, hardly, without, neither, nor, nothing, nobody, none, no one, no longer, no need to, haven't,
    hasn't, hadn't, stop being, ain't, dont, doesnt, didnt, isnt, wont, cant, far from"""

CONTRASTS = "but, however, yet, except that, and yet, still though"
CONCESSIONS = "although, though, even though, despite, in spite of"
SUPPOSITIONS = """if, whether, in case, unless, the word, the words, called, titled, named, a book about,
    an article about, a song about, a film about, a movie about, how to say, how do you spell, the book"""

# Look emotional, are not: politeness, names, idioms.
PLAIN = """happy to help, glad to help, happy to assist, be happy to, be glad to, happy to do, more than happy to,
    pleased to help, happy path, happy hour, happy hours, happy medium, happy meal, angry birds, mad max, mad hatter,
    great wall, great barrier, great depression, i'm sorry could you, sorry could you, sorry can you,
    sorry i didn't catch, sorry i didn't hear, sorry i missed, i'm sorry i didn't catch, sorry for the wait,
    sorry for the delay, sorry to keep you, sorry about that, sorry what was, sorry to bother you, sorry to interrupt,
    excuse me, no problem, no worries, don't worry, not to worry, never mind, nothing else, no rush, not at all,
    why not, not only, not just, not sure, if you like, i'm afraid i, i'm afraid we, i'm afraid that, i'm afraid not,
    i'm afraid there, i'm afraid the, surprise party, surprise egg, no surprise, no wonder, wonder wheel, death rate,
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

_PRAISE = "(?:great|wonderful|perfect|fantastic|brilliant|lovely|terrific|awesome|super|nice)"
_TROUBLE = r"(?:again|another|broken|crash\w*|late|stuck|down|delayed|dead|jammed)"
SARCASM = (
    rf"\b(?:oh|well|yeah|just),? {_PRAISE}\b[^.!?]*(?:\b{_TROUBLE}\b|又)",
    rf"^\W*{_PRAISE}[,.!]+ (?:just )?(?:another|yet another|now (?:it|the|my|we)\b|(?:it|the)\b[^.!?]*\b{_TROUBLE}\b)",
    r"\bjust what (?:i|we) (?:needed|wanted)\b",
    r"\byeah,? (?:right|sure)\b",
    r"\bthanks (?:a lot )?for (?:nothing|wasting|ruining|breaking|losing)\b",
    r"\bas if (?:that|it|i|you|they)\b[^.!?]*\bever\b",
    r"\bhow (?:convenient|original|nice for you)\b",
    r"\b(?:good|nice|great) job (?:breaking|ruining|losing|messing|screwing)\b",
    r"\b(?:big|what a) surprise,? (?:it|they|you|he|she)\b",
    r"\blucky me\b",
)
