"""What holds the page in step: one stream for all tabs, left and taken up again, and begun anew."""

from datetime import date

import pytest
from playwright.sync_api import Locator, Page, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import Site
from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_A_DAY = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES (%s, 'syncing', '单日同步', 'orders') RETURNING id
"""
_IS_IN = """
UPDATE daily_sync_status SET status = 'success', total_records = 7, success_count = 7 WHERE id = %s
"""
_MORE_THAN_IS_TOLD_AGAIN = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
SELECT day, 'success', '单日同步完成', 'busy'
FROM generate_series('2015-01-01'::date, '2020-12-31', interval '1 day') AS day
"""
_A_BATCH = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES ('2024-10-05', 'syncing', '批量同步: 2024-10-01 至 2024-10-10, 共10天', 'orders')
RETURNING id
"""
_CLOSE = "UPDATE daily_sync_status SET status = 'success', success_count = 10 WHERE id = %s"
_HIDEABLE = """
Object.defineProperty(document, "hidden", { get: () => Boolean(window.isHidden) });
window.hide = (hidden) => {
  window.isHidden = hidden;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
# The stream as the page has it, over connections that a test speaks for.
_FAKE = """
async () => {
  window.made = [];
  window.EventSource = class extends EventTarget {
    constructor(address) { super(); this.address = address; window.made.push(this); }
    close() { this.closed = true; }
    say(kind, data, id = "") {
      const event = new MessageEvent(kind, { data: JSON.stringify(data), lastEventId: id });
      this.dispatchEvent(event);
    }
  };
  const { Stream } = await import("/static/stream.js");
  window.words = [];
  window.stream = new Stream((word) => window.words.push(word.kind));
  window.stream.start();
}
"""


def test_seven_tabs_of_a_browser_are_all_live(visit: Open, stack: Stack) -> None:
    pages = [visit("/sync-status")]
    pages += [pages[0].context.new_page() for _ in range(6)]
    for page in pages[1:]:
        page.goto("/sync-status?dataset=orders")
    for page in pages:
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
    (made,) = stack.target(_A_BATCH)
    for page in pages:
        expect(_row(page, made["id"])).to_be_visible()
    pages[0].close()  # the others' stream is not this tab's own
    stack.target(_CLOSE, [made["id"]])
    for page in pages[1:]:
        expect(_row(page, made["id"]).get_by_text("Success", exact=True)).to_be_visible()


def test_a_page_told_to_begin_anew_shows_what_is_and_not_what_it_heard_before(
    visit: Open, stack: Stack, site: Site
) -> None:
    page = visit("/sync-status/calendar?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    day = date(2025, 6, 10)
    (made,) = stack.target(_A_DAY, [day])
    square = page.locator(f'[data-day="{day}"]')
    expect(square).to_have_accessible_name("Tuesday, June 10, 2025, 2025-06-10, Syncing")
    page.evaluate("window.neverReloaded = true")
    site.stop()
    try:
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        stack.target(_IS_IN, [made["id"]])
        stack.target(_MORE_THAN_IS_TOLD_AGAIN)
    finally:
        site.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(square).to_have_class("square success")
    assert page.evaluate("window.neverReloaded")
    stack.target("DELETE FROM daily_sync_status WHERE dataset = 'busy' OR id = %s", [made["id"]])


def test_a_tab_that_was_hidden_for_long_reads_what_it_missed(visit: Open, stack: Stack) -> None:
    page = visit("about:blank")
    page.add_init_script(_HIDEABLE)
    page.clock.install()
    page.goto("/sync-status?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.evaluate("window.hide(true)")
    page.clock.fast_forward("04:00")
    (first,) = stack.target(_A_BATCH)
    expect(_row(page, first["id"])).to_be_attached()  # its title tells how far a batch is
    page.clock.fast_forward("02:00")
    expect(page.get_by_text("Reconnecting…")).to_be_attached()
    stack.target(_CLOSE, [first["id"]])
    (second,) = stack.target(_A_BATCH)
    page.evaluate("window.hide(false)")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(_row(page, first["id"]).get_by_text("Success", exact=True)).to_be_visible()
    expect(_row(page, second["id"]).get_by_text("Syncing", exact=True)).to_be_visible()
    stack.target(_CLOSE, [second["id"]])


def test_a_browser_without_shared_workers_gives_its_connection_back_while_hidden(
    visit: Open, stack: Stack
) -> None:
    page = visit("about:blank")
    page.add_init_script(_HIDEABLE + "delete window.SharedWorker;")
    page.clock.install()
    page.goto("/sync-status?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    (first,) = stack.target(_A_BATCH)
    expect(_row(page, first["id"])).to_be_visible()
    page.evaluate("window.hide(true)")
    page.clock.fast_forward(6_000)
    expect(page.get_by_text("Reconnecting…")).to_be_attached()
    stack.target(_CLOSE, [first["id"]])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("window.hide(false)")
    expect(_row(page, first["id"]).get_by_text("Success", exact=True)).to_be_visible()
    assert [url for url in asked if "/list" in url] == []  # the stream told what was missed


def test_live_is_what_the_server_says_of_itself(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("made[0].say('open'), made[0].say('ping', { live: true })")
    page.evaluate("made[0].say('ping', { live: false }), made[0].say('ping', { live: false })")
    assert page.evaluate("[words, stream.isLive, made.length]") == [["open", "lost"], False, 1]
    page.evaluate("made[0].say('ping', { live: true })")
    assert page.evaluate("[words, stream.isLive]") == [["open", "lost", "live"], True]


def test_a_stream_that_was_heard_and_falls_silent_is_made_again(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("made[0].say('open'), made[0].say('ping', { live: true }, '41')")
    page.clock.run_for(39_000)
    page.evaluate("made[0].say('record', {}, '42')")
    page.clock.run_for(39_000)
    assert page.evaluate("made.length") == 1
    page.clock.run_for(3_000)
    assert page.evaluate("[made[0].closed, made.length]") == [True, 2]
    assert page.evaluate("made[1].address") == "/api/v1/events?after=42"


def test_a_server_that_never_says_so_is_not_taken_for_silent(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("made[0].say('open'), made[0].say('record', {}, '42')")
    page.clock.run_for(600_000)
    assert page.evaluate("[made.length, stream.isLive]") == [1, True]


def test_the_pauses_grow_until_something_is_heard(visit: Open) -> None:
    page = _with_fake_stream(visit)
    for tries in range(1, 6):
        page.evaluate("made.at(-1).say('open'), made.at(-1).say('error')")
        page.clock.run_for(500 * 2 ** (tries - 1))
        assert page.evaluate("made.length") == tries + 1
    page.evaluate("made.at(-1).say('error')")
    page.clock.run_for(4_000)
    assert page.evaluate("made.length") == 6  # the sixth pause is five seconds at least
    page.clock.run_for(6_000)
    page.evaluate("made.at(-1).say('ping', { live: true }), made.at(-1).say('error')")
    page.clock.run_for(500)
    assert page.evaluate("made.length") == 8


def test_a_reset_counts_from_where_it_says_even_if_that_is_lower(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("made[0].say('record', {}, '90'), made[0].say('reset', {}, '17')")
    page.evaluate("made[0].say('error')")
    page.clock.run_for(500)
    wait_until(lambda: page.evaluate("made.length") == 2)
    assert page.evaluate("made[1].address") == "/api/v1/events?after=17"


def test_after_a_reset_a_record_with_a_lower_number_is_the_later_one(visit: Open) -> None:
    page = visit("/sync-status")
    told = """async () => {
        const { forget, isOlder, latest, note } = await import("/static/recordCache.js");
        const before = { id: 1, change: 90 };
        note([before]);
        const meanwhile = latest({ id: 1, change: 5 }).change;
        forget();
        const restored = latest({ id: 1, change: 5 });
        return [meanwhile, restored.change, isOlder(restored, before)];
    }"""
    assert page.evaluate(told) == [90, 5, False]


def _with_fake_stream(visit: Open) -> Page:
    page = visit("/static/icon.svg")
    page.goto("/healthz")
    page.clock.install()
    page.evaluate(_FAKE)
    return page


def _row(page: Page, batch: int) -> Locator:
    return page.locator(f'.row[data-id="{batch}"]')
