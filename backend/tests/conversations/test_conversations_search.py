"""What a search of conversations finds, in whose, and how it is written by people."""

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.conversations import listing
from backend.database import Sessions as OwnSessions
from backend.tests.conversations.test_conversations import PATH, listed, make
from backend.tests.conversations.test_conversations_list import many, pages
from backend.tests.conversations.test_history import conversation_of, insert, message_in
from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import calls, says
from backend.tests.test_chat import chat


async def test_a_search_finds_titles_and_messages_and_nothing_else(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    titled = await make(alice, title="The milkshake bar")
    model.extend([says("Which kind?"), calls("add_task", {"title": "Tea"}), says("Added tea.")])
    asked = (await chat(alice, "Do I need milk?"))["conversation_id"]
    await chat(alice, "Add tea")
    assert await listed(alice, q="milk") == [asked, titled["id"]]
    assert await listed(alice, q="KIND") == [asked]
    assert await listed(alice, q="coffee") == []


SAME = [
    ("STRASSE", "straße", True),
    ("Große Straße", "GROSSE STRASSE", True),
    ("ΟΔΟΣ", "οδος", True),
    ("οδός ΌΔΟΣ", "όδος", True),
    ("İstanbul", "istanbul", True),
    ("Cafe\u0301", "café", True),
    ("Café", "CAFE\u0301", True),
    ("ÄPFEL", "äpfel", True),
    ("ХЛЕБ", "хлеб", True),
    ("ﾊﾟﾝを買う", "パン", True),
    ("パン", "ﾊﾟﾝ", True),
    ("ＡＢＣ　１２", "abc 12", True),
    ("ﬁnish", "FINISH", True),
    ("ซื้อข้าวผัด", "ข้าว", True),
    ("ຊື້ເຂົ້າ", "ເຂົ້າ", True),
    ("ဈေးသွားမယ်", "သွား", True),
    ("ទៅ\u200bផ្សារ", "ទៅផ្សារ", True),
    ("می\u200cخواهم", "میخواهم", True),
    ("co\u00adoperate", "cooperate", True),
    ("한글".encode().decode(), "\u1112\u1161\u11ab글", True),
    ("買牛奶", "牛奶", True),
    ("人々", "人々", True),
]
"""What a reader takes for the same, in searches of tasks and of conversations."""


@pytest.mark.parametrize(
    ("said", "wanted", "found"),
    [
        ("Buy oat milk, then rest.", "milk oat", True),
        ("Buy oat milk, then rest.", "mil OA bu", True),
        ("Buy oat milk, then rest.", "ilk", False),
        ("Buy oat milk, then rest.", "milk tea", False),
        ("Buy oat milk, then rest.", "  milk  ", True),
        ("eggs/milk", "milk", True),
        ("mail ann@example.com today", "example", True),
        ("mail ann@example.com today", "ann@example.com", True),
        ("see https://example.com/path?x=1", "path", True),
        ("<b>bold</b> words", "bold", True),
        ("don't", "don't", True),
        ("room 4.2-b", "4.2", True),
        ("snake_case", "case", True),
        ("Молоко и ХЛЕБ", "хлеб мол", True),
        ("Käse für Zoë", "KÄS", True),
        ("明日牛乳を買う", "牛乳", True),
        ("明日牛乳を買う", "茶", False),
        ("a “quoted” word…", "quoted", True),
        ("w" * 300, "w" * 150, True),
        ("u is a letter", "u", True),
        ("nothing here", "u", False),
        ("100% sure", "100%", True),
        ("anything", "any:* | !thing & 'x' \\ <-> ( )", False),
        ("anything x", "any:* & 'x' \\ <-> ( )", True),
        ("anything", "'; DROP TABLE messages; --", False),
        ("anything", "%", False),
        ("anything", "* ! & | ( ) : ' \\", False),
        ("anything", "…", False),
        ("line\none\ttab", "one tab", True),
        *SAME,
        *[(said, f"{wanted}z", False) for said, wanted, _ in SAME],
        ("東京都", "京都", True),
        ("京から都へ", "京都", False),
        ("ไม่ซื้อข้าว", "ข้าว", True),
        ("วาขา้", "ข้าว", False),
    ],
)
async def test_all_words_are_looked_for_as_beginnings_of_words(
    alice: httpx.AsyncClient,
    alice_id: str,
    sessions: Sessions,
    said: str,
    wanted: str,
    found: bool,
) -> None:
    number = await conversation_of(sessions, alice_id)
    await message_in(sessions, number, alice_id, "user", said)
    titled = (await make(alice, title=said[:200]))["id"]
    await make(alice)
    assert await listed(alice, q=wanted) == ([titled, number] if found else [])


async def test_without_words_to_look_for_everything_is_listed(alice: httpx.AsyncClient) -> None:
    made = await make(alice)
    assert await listed(alice, q="") == await listed(alice, q="  ") == [made["id"]]


async def test_words_must_stand_together_in_one_message_or_in_the_title(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    made = await make(alice, title="garden")
    for said in ("roses", "tulips"):
        await message_in(sessions, made["id"], alice_id, "user", said)
    assert await listed(alice, q="roses") == [made["id"]]
    assert await listed(alice, q="roses tulips") == await listed(alice, q="garden roses") == []


async def test_a_search_finds_what_the_history_shows_and_nothing_that_it_hides(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    for status, said in (("failed", "Done so far: pears."), ("running", "Done so far: plums.")):
        number = await conversation_of(sessions, alice_id)
        answer = await message_in(sessions, number, alice_id, "assistant", said, status=status)
        sql = (
            "UPDATE messages SET lease_until = now() + interval '1 day' WHERE id = :id RETURNING id"
        )
        await insert(sessions, sql, id=answer)
    assert len(await listed(alice, q="pears")) == 1
    assert await listed(alice, q="plums") == []


async def test_a_search_has_pages_and_keeps_to_the_archive_or_out_of_it(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    ids = await many(sessions, alice_id, 9, ties=3)
    for number in ids[::2]:
        for said in ("a rose", "the roses"):
            await message_in(sessions, number, alice_id, "user", said)
    assert await pages(alice, q="rose", limit=2) == [ids[0:3:2], ids[4:7:2], ids[8:]]
    await alice.post(f"{PATH}/{ids[4]}/archive")
    assert await listed(alice, q="rose", archived="true") == [ids[4]]
    assert await listed(alice, q="rose") == [ids[0], ids[2], ids[6], ids[8]]


async def test_what_another_person_said_is_never_found(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Noted.")])
    await chat(alice, "the launch code is tulip")
    await make(alice, title="tulips")
    assert await listed(bob, q="tulip") == []


async def test_owners_whose_ids_end_alike_or_hold_odd_characters_are_kept_apart(
    sessions: Sessions, own_sessions: OwnSessions
) -> None:
    long = "x" * 30
    owners = [f"a{long}", f"b{long}", "o'ne \\1 #/", 'o"ne', "🙂" * 60]
    for owner in owners:
        number = await conversation_of(sessions, owner)
        await message_in(sessions, number, owner, "user", "a needle")
    async with sessions() as session, own_sessions() as own:
        for owner in owners:
            page = await listing.list_conversations(own, owner, limit=9, search="need")
            assert len(page.conversations) >= 1
            for each in page.conversations:
                sql = "SELECT user_id FROM conversations WHERE id = :id"
                connection = await session.connection()
                found = await connection.execute(text(sql), {"id": each.id})
                assert found.scalar_one() == owner


@pytest.mark.parametrize(
    "answer",
    [
        "".join(chr(0x3400 + number) for number in range(10_000)),
        " ".join(chr(0x100 + number % 0x3000) for number in range(20_000)),
        "\U00010401" * 50_000,
        "İ" * 30_000,
        "-" * 100_000,
        "word " * 100_000,
        "ﷺ" * 30_000,
        "".join(f"\u0e01{chr(0x3131 + number % 90)}ﷺ" for number in range(10_000)),
    ],
    ids=["ideographs", "letters", "one word", "grows", "no word", "long", "unfolds", "mixed"],
)
async def test_no_text_is_too_much_for_the_search_to_be_saved(
    sessions: Sessions, answer: str
) -> None:
    for owner in ("🙂" * 255, "someone"):
        number = await conversation_of(sessions, owner)
        await message_in(sessions, number, owner, "assistant", answer)
