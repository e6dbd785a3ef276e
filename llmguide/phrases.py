"""Phrases: how English and Chinese say what happens in the miniature world."""

from dataclasses import dataclass

from llmguide.world import Kind


@dataclass(frozen=True, kw_only=True)
class Language:
    """How a language tells the world: sentence patterns with slots.

    Slots: {S} who acts, {their} the possessive, {o} the other person, {t} the thing, {n} its bare noun, {a} the thing
    as first mentioned, {at} {to} the place, {deed} what one does there, {f} a feeling, {sky} the weather. The patterns
    of a list differ, so that a text tells which choices made it.
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
    opening=(
        "It was a {sky} morning in the village.",
        "One {sky} morning, the village woke up early.",
        "The morning was {sky} and quiet.",
    ),
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
)

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
)
LINK_WEIGHTS = (5.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # most sentences start without a link
LANGUAGES = {"en": ENGLISH, "zh": MANDARIN}
