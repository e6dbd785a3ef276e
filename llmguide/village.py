"""The village's words: who and what there is, and how English and Chinese tell it."""

from dataclasses import dataclass

from llmguide.world import Kind, Person, World

NAMES = {
    "Ada": "艾达", "Mia": "米娅", "Nora": "诺拉", "Lily": "莉莉", "Rosa": "罗莎", "Anna": "安娜", "Emma": "艾玛", "Clara": "克拉拉",
    "Tom": "汤姆", "Leo": "里奥", "Sam": "山姆", "Max": "马克斯", "Finn": "芬恩", "Jack": "杰克", "Otto": "奥托", "Hugo": "雨果",
}  # fmt: skip
WOMEN = frozenset(("Ada", "Mia", "Nora", "Lily", "Rosa", "Anna", "Emma", "Clara"))

# A place: where one is, in English and Chinese, and four things to do there.
PLACES: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "mill": ("at the mill", "磨坊", (
        ("watched the big wheel turn", "看大水车转动"), ("swept the dusty floor", "扫了扫满是灰的地"), ("carried a sack of flour", "扛了一袋面粉"), ("tied up a heavy bag", "系好了一个沉甸甸的口袋"))),
    "market": ("at the market", "市场", (
        ("bought some bread", "买了些面包"), ("looked at the silver fish", "看了看银色的鱼"), ("ate a sweet plum", "吃了一个甜李子"), ("asked for the price of cheese", "问了问奶酪的价钱"))),
    "bridge": ("on the bridge", "桥上", (
        ("threw stones into the water", "往水里扔石子"), ("counted the ducks below", "数了数桥下的鸭子"), ("listened to the river", "听了听河水的声音"), ("leaned over the stone wall", "靠在石栏上往下看"))),
    "garden": ("in the garden", "花园里", (
        ("watered the roses", "给玫瑰浇了水"), ("dug up three potatoes", "挖了三个土豆"), ("chased a yellow butterfly", "追一只黄蝴蝶"), ("picked sweet peas", "摘了甜豌豆"))),
    "school": ("at the school", "学校", (
        ("read a funny story", "读了一个有趣的故事"), ("wrote on the black board", "在黑板上写了字"), ("sang a long song", "唱了一首很长的歌"), ("drew a small dragon", "画了一条小龙"))),
    "barn": ("in the barn", "谷仓里", (
        ("fed the hungry hens", "喂了饿着的母鸡"), ("brushed the brown horse", "给棕色的马刷了毛"), ("slept on the soft hay", "在软软的干草上睡了一觉"), ("milked the spotted cow", "给花奶牛挤了奶"))),
    "harbour": ("at the harbour", "港口", (
        ("waved to the sailors", "向水手们挥了挥手"), ("helped to mend a net", "帮忙补了一张网"), ("watched the white gulls", "看了看白色的海鸥"), ("painted an upturned boat", "给一条倒扣的小船刷了漆"))),
    "forest": ("in the forest", "森林里", (
        ("climbed a tall tree", "爬上了一棵高高的树"), ("gathered mushrooms and nuts", "采了蘑菇和坚果"), ("followed a shy deer", "跟着一只害羞的鹿走了一段"), ("whistled back to a bird", "吹着口哨回应一只鸟"))),
    "bakery": ("at the bakery", "面包店", (
        ("smelled the fresh buns", "闻了闻刚出炉的小面包"), ("kneaded the dough", "揉了揉面团"), ("tasted a warm honey cake", "尝了一块热的蜂蜜蛋糕"), ("cut bread for everyone", "给大家切了面包"))),
    "well": ("by the well", "井边", (
        ("drew a bucket of water", "打了一桶水"), ("washed both hands", "洗了洗双手"), ("called down into the dark", "朝黑黑的井里喊了一声"), ("looked for frogs", "找了找青蛙"))),
    "hill": ("on the hill", "山上", (
        ("looked out over the roofs", "望了望远处的屋顶"), ("rolled down the grass", "从草坡上滚了下去"), ("watched the clouds drift by", "看云慢慢飘过"), ("built a tower of pebbles", "用小石头搭了一座塔"))),
    "inn": ("at the inn", "客栈", (
        ("drank a mug of hot milk", "喝了一杯热牛奶"), ("played a game of cards", "玩了一局纸牌"), ("sat close to the fire", "坐在火炉旁"), ("told an old traveller a joke", "给一位老旅客讲了个笑话"))),
    "smithy": ("at the smithy", "铁匠铺", (
        ("pumped the bellows", "拉了拉风箱"), ("counted the horseshoes", "数了数马蹄铁"), ("swept up the ashes", "扫干净了炉灰"), ("held the iron tongs", "拿了一会儿铁钳"))),
    "tower": ("in the tower", "塔楼里", (
        ("climbed ninety steps", "爬了九十级台阶"), ("greeted the sleepy owl", "跟打瞌睡的猫头鹰打了招呼"), ("polished the clock", "擦亮了大钟"), ("saw far over the fields", "望见了很远的田野"))),
}  # fmt: skip

# A thing: Chinese measure word and noun.
THINGS = {
    "lantern": ("盏", "灯笼"), "kite": ("只", "风筝"), "apple": ("个", "苹果"), "key": ("把", "钥匙"), "book": ("本", "书"),
    "drum": ("面", "鼓"), "basket": ("个", "篮子"), "rope": ("根", "绳子"), "cup": ("个", "杯子"), "map": ("张", "地图"),
    "bell": ("个", "铃铛"), "coat": ("件", "外套"), "hat": ("顶", "帽子"), "letter": ("封", "信"), "ball": ("个", "皮球"),
    "whistle": ("个", "哨子"),
}  # fmt: skip
CHINESE = {
    "old": "旧", "red": "红", "blue": "蓝", "little": "小",
    "sunny": "晴朗", "cloudy": "多云", "windy": "有风", "rainy": "下雨", "cold": "寒冷", "warm": "温暖",
    "happy": "高兴", "calm": "平静", "tired": "累", "surprised": "惊讶", "curious": "好奇", "proud": "自豪",
    "shy": "不好意思", "sad": "难过", "worried": "担心", "angry": "生气", "glad": "欣慰",
}  # fmt: skip

VILLAGE = World(
    people=tuple(Person(name=name, she=name in WOMEN) for name in NAMES),
    places=tuple(PLACES),
    things=tuple(THINGS),
)


@dataclass(frozen=True, kw_only=True)
class Language:
    """How a language tells the world: sentence patterns with slots.

    Slots: {S} who acts, {their} the possessive, {o} the other person, {t} the thing, {n} its bare noun, {a} the thing as
    first mentioned, {at} {to} the place, {deed} what one does there, {f} a feeling, {sky} the weather. Each pattern of a list is
    a different text, so that a text tells which choices made it.
    """

    opening: tuple[str, ...]
    start: tuple[str, ...]
    start_too: tuple[str, ...]  # may be said of the second at the same place
    holds: tuple[str, ...]
    lies: tuple[str, ...]
    events: dict[Kind, tuple[str, ...]]
    events_it: dict[Kind, tuple[str, ...]]  # where the thing may be a pronoun
    feeling: tuple[str, ...]
    links: tuple[str, ...]
    times: dict[str, tuple[str, ...]]
    closing: tuple[str, ...]
    ends_with: str
    ends_at: str
    and_then: str  # between the two halves of the closing
    stop: str  # ends a sentence
    space: str  # between sentences
    pronouns: tuple[str, str]  # she, he
    possessives: tuple[str, str]


ENGLISH = Language(
    opening=("It was a {sky} morning in the village.", "One {sky} morning, the village woke up early.", "The morning was {sky} and quiet."),
    start=("{S} was {at}.", "{S} stood {at}.", "{S} waited {at}."),
    start_too=("{S} was there too.",),
    holds=("{S} had {a}.", "{S} carried {a}."),
    lies=("There was {a} {at}.", "Somebody had left {a} {at}."),
    events={
        "go": ("{S} went {to}", "{S} walked {to}", "{S} ran {to}", "{S} hurried {to}", "{S} made {their} way {to}"),
        "do": ("{S} {deed}", "{S} stayed {at} and {deed}"),
        "meet": ("{S} met {o} {at}", "{S} said hello to {o}", "{S} and {o} talked for a while"),
        "take": ("{S} picked up {t}", "{S} took {t}", "{S} put {t} under one arm"),
        "give": ("{S} gave {t} to {o}", "{S} handed {t} to {o}", "{S} gave {o} {t}"),
        "put": ("{S} put {t} down {at}", "{S} left {t} {at}"),
        "drop": ("{S} dropped {t} {at} and did not notice", "{S} lost {t} {at} without knowing"),
        "miss": ("{S} looked for {t} everywhere but could not find it", '{S} asked, "Where is my {n}?"'),
        "find": ("{S} found {t} {at}", "{S} saw {t} lying {at} and picked it up"),
    },
    events_it={
        "take": ("{S} picked it up", "{S} took it"),
        "give": ("{S} gave it to {o}", "{S} handed it to {o}"),
        "put": ("{S} put it down {at}", "{S} left it {at}"),
        "drop": ("{S} dropped it {at} and did not notice", "{S} lost it {at} without knowing"),
        "find": ("{S} found it {at}",),
    },
    feeling=("{S} was {f}.", "{S} felt {f}."),
    links=("", "Then ", "Soon ", "After that, ", "Before long, ", "A little later, "),
    times={
        "noon": ("At noon, ", "When the bells rang twelve, "),
        "afternoon": ("In the afternoon, ", "When the shadows grew long, "),
        "evening": ("In the evening, ", "When the sun went down, "),
    },
    closing=("In the end, ", "When the day was over, "),
    ends_with="{S} had {t}",
    ends_at="{t} was {at}",
    and_then=", and ",
    stop=".",
    space=" ",
    pronouns=("she", "he"),
    possessives=("her", "his"),
)  # fmt: skip

MANDARIN = Language(
    opening=("这是村里一个{sky}的早晨。", "一个{sky}的早晨，村子早早醒来了。", "早晨{sky}，四周很安静。"),
    start=("{S}在{at}。", "{S}站在{at}。", "{S}等在{at}。"),
    start_too=("{S}也在那里。",),
    holds=("{S}有{a}。", "{S}带着{a}。"),
    lies=("{at}有{a}。", "有人把{a}留在了{at}。"),
    events={
        "go": ("{S}去了{to}", "{S}走到{to}", "{S}跑到{to}", "{S}匆匆赶到{to}", "{S}动身来到{to}"),
        "do": ("{S}{deed}", "{S}留在{at}，{deed}"),
        "meet": ("{S}在{at}遇见了{o}", "{S}向{o}问好", "{S}和{o}聊了一会儿"),
        "take": ("{S}捡起了{t}", "{S}拿走了{t}", "{S}把{t}夹在胳膊下"),
        "give": ("{S}把{t}给了{o}", "{S}把{t}交到{o}手里", "{S}给了{o}{t}"),
        "put": ("{S}把{t}放在{at}", "{S}把{t}留在{at}"),
        "drop": ("{S}在{at}掉了{t}，却没有发觉", "{S}不知不觉把{t}丢在了{at}"),
        "miss": ("{S}到处找{t}，可是没有找到", "{S}问：“我的{n}在哪里？”"),
        "find": ("{S}在{at}找到了{t}", "{S}看见{t}在{at}，就捡了起来"),
    },
    events_it={
        "take": ("{S}把它捡了起来", "{S}拿走了它"),
        "give": ("{S}把它给了{o}", "{S}把它交到{o}手里"),
        "put": ("{S}把它放在{at}", "{S}把它留在{at}"),
        "drop": ("{S}在{at}掉了它，却没有发觉", "{S}不知不觉把它丢在了{at}"),
        "find": ("{S}在{at}找到了它",),
    },
    feeling=("{S}很{f}。", "{S}觉得很{f}。"),
    links=("", "然后，", "不久，", "在那之后，", "没过多久，", "过了一会儿，"),
    times={
        "noon": ("中午，", "十二点的钟声响起时，"),
        "afternoon": ("下午，", "影子变长的时候，"),
        "evening": ("傍晚，", "太阳下山的时候，"),
    },
    closing=("最后，", "一天结束时，"),
    ends_with="{t}在{S}手里",
    ends_at="{t}在{at}",
    and_then="，",
    stop="。",
    space="",
    pronouns=("她", "他"),
    possessives=("她的", "他的"),
)  # fmt: skip
LINK_WEIGHTS = (5.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # most sentences start without a link
LANGUAGES = {"en": ENGLISH, "zh": MANDARIN}
