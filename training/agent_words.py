"""Words and sentences that `agent_text` composes from; `{name}` and `{item}` are replaced by random names and items."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    """Anna Michael Siobhan Priya Omar Chen Maria Jack Olivia Noah Emma Liam Sophia Lucas Aisha Diego Fatima Hannah Ivan
    Julia Kevin Laura Mohammed Nina Oscar Paula Quentin Rachel Samuel Tara Victor Wendy Xavier Yuki Zoe Aaron Bobby
    Brooke Dennis Emmett Garrett Holly Jeff Kelly Lee Matthew Otto Phillip Russell Scott Tiffany Warren Yvonne Smith
    Nguyen Johnson Miller Garcia Kowalski Fitzgerald Okafor Wright Schneider Rossi Bennett Hill"""
)

MONTHS = _words("January February March April May June July August September October November December")

ITEMS = (
    *("apples", "bread", "a blue jacket", "coffee", "two tickets", "your invoice", "the medium size", "green tea"),
    *("batteries", "a charger", "the red one", "a return label", "running shoes", "the report", "a window seat"),
    *("breakfast", "free parking", "the warranty", "pasta", "a salad", "headphones", "a refund", "an upgrade", "milk"),
    *("the blue folder", "printer paper", "the keys", "orange juice", "a large pizza", "a new password", "the account"),
)

REPLIES = (
    *("Hi!", "Hi.", "Hello!", "Hello.", "Bye!", "Bye.", "Goodbye!", "Yes.", "Yes!", "Yes?", "No.", "No!", "No?", "OK."),
    *(
        "Okay.",
        "Okay!",
        "Sure.",
        "Sure!",
        "Thanks.",
        "Thanks!",
        "Thank you.",
        "Please.",
        "Right.",
        "Great!",
        "Perfect.",
    ),
    *(
        "Sorry?",
        "Sorry.",
        "Welcome!",
        "Done.",
        "Absolutely.",
        "Of course.",
        "Maybe.",
        "Really?",
        "Why?",
        "When?",
        "Who?",
    ),
    *("Where?", "What?", "How?", "Now?", "Hey!", "Wow!", "Good.", "Fine.", "Exactly.", "Correct.", "Alright.", "Cool."),
    *(
        "One moment.",
        "Go ahead.",
        "Got it.",
        "I see.",
        "No problem.",
        "Not yet.",
        "All set.",
        "Good morning!",
        "Hi there!",
    ),
)

TURNS = (
    "I can help with that.",
    "Let me check that for you.",
    "That is fine.",
    "I will be right back.",
    "Thanks for waiting.",
    "You are welcome.",
    "We are almost done.",
    "Have a nice day!",
    "Hello {name}, thanks for calling.",
    "Hi {name}, how can I help you today?",
    "Good morning, this is {name} speaking.",
    "Sure, I have added {item} to your order.",
    "I'm sorry, {item} is not available right now.",
    "Please hold while I transfer your call.",
    "One moment, {name}, I am looking it up.",
    "Your order has been shipped, {name}.",
    "I've sent you a message with the details.",
    "Okay, let's start over.",
    "No worries, take your time.",
    "Thank you, {name}, is there anything else?",
    "I didn't catch that, could you say it again?",
    "It looks like your payment went through.",
    "You can change this in the settings at any time.",
    "First, open the app, then tap your name.",
    "That's a great question, {name}.",
    "I'd recommend {item}.",
    "Unfortunately, we are closed on Sundays.",
    "Your appointment is confirmed.",
    "I have canceled the reservation for {name}.",
    "Please wait a moment while I find {item}.",
)

QUESTIONS = (
    "What's your name?",
    "How are you?",
    "Can you spell that for me?",
    "Is that correct?",
    "Would you like {item}?",
    "Could I have your phone number, please?",
    "When would you like to come in?",
    "Do you still need {item}, {name}?",
    "Who should I ask for?",
    "Which one do you prefer?",
    "Did you mean {item}?",
    "Are you still there?",
    "Shall I book it for {name}?",
    "What time works best for you?",
    "Where should we send {item}?",
    "Anything else?",
    "Is this {name}?",
    "How many do you need?",
    "May I ask who is calling?",
    "Does that sound good?",
)

REPEATED = _words(
    "no yes very bye hi okay right wait really please never again well now come there many too five seven nine two "
    "zero eight one three six four oh hello thanks sure good on go more"
)

CHINESE_NAMES = _words("小明 王先生 李女士 张伟 陈老师 刘经理 赵医生 周小姐 吴先生 孙女士 林老师 黄先生")

CHINESE_ITEMS = _words("苹果 面包 咖啡 绿茶 牛奶 门票 外套 耳机 早餐 发票 会员卡 充电器 米饭 水饺 机票 毛巾 雨伞 果汁")

CHINESE_REPLIES = _words(
    "你好！ 您好！ 你好。 好的。 好的！ 谢谢。 谢谢！ 再见。 再见！ 是的。 不是。 对。 对！ "
    "不对。 嗯。 好。 可以。 行。 没有。 当然。 请说。 请稍等。 没问题。 不客气。 对不起。 "
    "不好意思。 明白了。 知道了。 什么？ 为什么？ 真的吗？ 是吗？ 好吗？ 早上好！ 晚上好！ "
    "欢迎！ 太好了！"
)

CHINESE_TURNS = (
    "{name}，您好，请问有什么可以帮您？",
    "请稍等，我帮您查一下。",
    "好的，已经为您加上{item}。",
    "对不起，{item}已经卖完了。",
    "谢谢您的来电，祝您生活愉快！",
    "您的订单已经发出。",
    "我没有听清楚，请您再说一遍。",
    "没关系，您慢慢说。",
    "我们马上为您处理。",
    "{name}，您的预约已经确认。",
    "好的，那我们重新开始。",
    "付款已经成功，谢谢。",
    "不用着急，我在听。",
    "我推荐您试试{item}。",
    "信息已经发到您的手机上。",
)

CHINESE_QUESTIONS = (
    "您贵姓？",
    "请问您需要{item}吗？",
    "您什么时候方便？",
    "可以留一下您的电话吗？",
    "您还在吗？",
    "请问是{name}吗？",
    "还有别的需要吗？",
    "您要几个？",
    "这样可以吗？",
    "您想要哪一种？",
    "{item}送到哪里？",
    "您是说{item}吗？",
)

CHINESE_REPEATED = _words(
    "好的 谢谢 是的 对 不 再见 等等 慢慢 五五五 八八八 六六六 三三三 零零 七七 九九 二二二 一一 四四 好 来"
)
