"""The village: who lives there, which places and things it has, in English and Chinese."""

from llmguide.world import Person, World

NAMES = {
    "Ada": "艾达",
    "Mia": "米娅",
    "Nora": "诺拉",
    "Lily": "莉莉",
    "Rosa": "罗莎",
    "Anna": "安娜",
    "Emma": "艾玛",
    "Clara": "克拉拉",
    "Tom": "汤姆",
    "Leo": "里奥",
    "Sam": "山姆",
    "Max": "马克斯",
    "Finn": "芬恩",
    "Jack": "杰克",
    "Otto": "奥托",
    "Hugo": "雨果",
}
WOMEN = frozenset(("Ada", "Mia", "Nora", "Lily", "Rosa", "Anna", "Emma", "Clara"))

# A place: where one is, in English and Chinese, and four things to do there.
PLACES: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "mill": (
        "at the mill",
        "磨坊",
        (
            ("watched the big wheel turn", "看大水车转动"),
            ("swept the dusty floor", "扫了扫满是灰的地"),
            ("carried a sack of flour", "扛了一袋面粉"),
            ("tied up a heavy bag", "系好了一个沉甸甸的口袋"),
        ),
    ),
    "market": (
        "at the market",
        "市场",
        (
            ("bought some bread", "买了些面包"),
            ("looked at the silver fish", "看了看银色的鱼"),
            ("ate a sweet plum", "吃了一个甜李子"),
            ("asked for the price of cheese", "问了问奶酪的价钱"),
        ),
    ),
    "bridge": (
        "on the bridge",
        "桥上",
        (
            ("threw stones into the water", "往水里扔石子"),
            ("counted the ducks below", "数了数桥下的鸭子"),
            ("listened to the river", "听了听河水的声音"),
            ("leaned over the stone wall", "靠在石栏上往下看"),
        ),
    ),
    "garden": (
        "in the garden",
        "花园里",
        (
            ("watered the roses", "给玫瑰浇了水"),
            ("dug up three potatoes", "挖了三个土豆"),
            ("chased a yellow butterfly", "追一只黄蝴蝶"),
            ("picked sweet peas", "摘了甜豌豆"),
        ),
    ),
    "school": (
        "at the school",
        "学校",
        (
            ("read a funny story", "读了一个有趣的故事"),
            ("wrote on the black board", "在黑板上写了字"),
            ("sang a long song", "唱了一首很长的歌"),
            ("drew a small dragon", "画了一条小龙"),
        ),
    ),
    "barn": (
        "in the barn",
        "谷仓里",
        (
            ("fed the hungry hens", "喂了饿着的母鸡"),
            ("brushed the brown horse", "给棕色的马刷了毛"),
            ("slept on the soft hay", "在软软的干草上睡了一觉"),
            ("milked the spotted cow", "给花奶牛挤了奶"),
        ),
    ),
    "harbour": (
        "at the harbour",
        "港口",
        (
            ("waved to the sailors", "向水手们挥了挥手"),
            ("helped to mend a net", "帮忙补了一张网"),
            ("watched the white gulls", "看了看白色的海鸥"),
            ("painted an upturned boat", "给一条倒扣的小船刷了漆"),
        ),
    ),
    "forest": (
        "in the forest",
        "森林里",
        (
            ("climbed a tall tree", "爬上了一棵高高的树"),
            ("gathered mushrooms and nuts", "采了蘑菇和坚果"),
            ("followed a shy deer", "跟着一只害羞的鹿走了一段"),
            ("whistled back to a bird", "吹着口哨回应一只鸟"),
        ),
    ),
    "bakery": (
        "at the bakery",
        "面包店",
        (
            ("smelled the fresh buns", "闻了闻刚出炉的小面包"),
            ("kneaded the dough", "揉了揉面团"),
            ("tasted a warm honey cake", "尝了一块热的蜂蜜蛋糕"),
            ("cut bread for everyone", "给大家切了面包"),
        ),
    ),
    "well": (
        "by the well",
        "井边",
        (
            ("drew a bucket of water", "打了一桶水"),
            ("washed both hands", "洗了洗双手"),
            ("called down into the dark", "朝黑黑的井里喊了一声"),
            ("looked for frogs", "找了找青蛙"),
        ),
    ),
    "hill": (
        "on the hill",
        "山上",
        (
            ("looked out over the roofs", "望了望远处的屋顶"),
            ("rolled down the grass", "从草坡上滚了下去"),
            ("watched the clouds drift by", "看云慢慢飘过"),
            ("built a tower of pebbles", "用小石头搭了一座塔"),
        ),
    ),
    "inn": (
        "at the inn",
        "客栈",
        (
            ("drank a mug of hot milk", "喝了一杯热牛奶"),
            ("played a game of cards", "玩了一局纸牌"),
            ("sat close to the fire", "坐在火炉旁"),
            ("told an old traveller a joke", "给一位老旅客讲了个笑话"),
        ),
    ),
    "smithy": (
        "at the smithy",
        "铁匠铺",
        (
            ("pumped the bellows", "拉了拉风箱"),
            ("counted the horseshoes", "数了数马蹄铁"),
            ("swept up the ashes", "扫干净了炉灰"),
            ("held the iron tongs", "拿了一会儿铁钳"),
        ),
    ),
    "tower": (
        "in the tower",
        "塔楼里",
        (
            ("climbed ninety steps", "爬了九十级台阶"),
            ("greeted the sleepy owl", "跟打瞌睡的猫头鹰打了招呼"),
            ("polished the clock", "擦亮了大钟"),
            ("saw far over the fields", "望见了很远的田野"),
        ),
    ),
}

# A thing: Chinese measure word and noun.
THINGS = {
    "lantern": ("盏", "灯笼"),
    "kite": ("只", "风筝"),
    "apple": ("个", "苹果"),
    "key": ("把", "钥匙"),
    "book": ("本", "书"),
    "drum": ("面", "鼓"),
    "basket": ("个", "篮子"),
    "rope": ("根", "绳子"),
    "cup": ("个", "杯子"),
    "map": ("张", "地图"),
    "bell": ("个", "铃铛"),
    "coat": ("件", "外套"),
    "hat": ("顶", "帽子"),
    "letter": ("封", "信"),
    "ball": ("个", "皮球"),
    "whistle": ("个", "哨子"),
}
CHINESE = {
    "old": "旧",
    "red": "红",
    "blue": "蓝",
    "little": "小",
    "sunny": "晴朗",
    "cloudy": "多云",
    "windy": "有风",
    "rainy": "下雨",
    "cold": "寒冷",
    "warm": "温暖",
    "happy": "高兴",
    "calm": "平静",
    "tired": "累",
    "surprised": "惊讶",
    "curious": "好奇",
    "proud": "自豪",
    "shy": "不好意思",
    "sad": "难过",
    "worried": "担心",
    "angry": "生气",
    "glad": "欣慰",
}

VILLAGE = World(
    people=tuple(Person(name=name, she=name in WOMEN) for name in NAMES),
    places=tuple(PLACES),
    things=tuple(THINGS),
)
