"""The page's event stream: how tabs share it, and how it is resumed after errors or reset."""

from datetime import date

import pytest
from playwright.sync_api import Locator, Page, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import Site
from sync_pipeline_tests.stack_project import Stack
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_INSERT_DAY = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES (%s, 'syncing', '单日同步', 'orders') RETURNING id
"""
_FINISH_DAY = """
UPDATE daily_sync_status SET status = 'success', total_records = 7, success_count = 7 WHERE id = %s
"""
_INSERT_MORE_THAN_IS_REPLAYED = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
SELECT day, 'success', '单日同步完成', 'busy'
FROM generate_series('2015-01-01'::date, '2020-12-31', interval '1 day') AS day
"""
_INSERT_BATCH = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES ('2024-10-05', 'syncing', '批量同步: 2024-10-01 至 2024-10-10, 共10天', 'orders')
RETURNING id
"""
_FINISH_BATCH = "UPDATE daily_sync_status SET status = 'success', success_count = 10 WHERE id = %s"
_MAKE_HIDEABLE = """
Object.defineProperty(document, "hidden", { get: () => Boolean(window.isHidden) });
window.hide = (hidden) => {
  window.isHidden = hidden;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
# Starts the page's stream over fake connections, through which the test sends events.
_FAKE_STREAM = """
async () => {
  window.sources = [];
  window.EventSource = class extends EventTarget {
    constructor(url) { super(); this.url = url; window.sources.push(this); }
    close() { this.closed = true; }
    send(kind, data, id = "") {
      const event = new MessageEvent(kind, { data: JSON.stringify(data), lastEventId: id });
      this.dispatchEvent(event);
    }
  };
  const { Stream } = await import("/static/stream.js");
  window.signals = [];
  window.stream = new Stream((signal) => window.signals.push(signal.kind));
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
    (inserted,) = stack.target(_INSERT_BATCH)
    for page in pages:
        expect(_row(page, inserted["id"])).to_be_visible()
    pages[0].close()  # closing this tab does not affect the other tabs' stream
    stack.target(_FINISH_BATCH, [inserted["id"]])
    for page in pages[1:]:
        expect(_row(page, inserted["id"]).get_by_text("Success", exact=True)).to_be_visible()


def test_after_a_reset_the_page_shows_current_data_instead_of_earlier_events(
    visit: Open, stack: Stack, site: Site
) -> None:
    page = visit("/sync-status/calendar?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    day = date(2025, 6, 10)
    (inserted,) = stack.target(_INSERT_DAY, [day])
    square = page.locator(f'[data-day="{day}"]')
    expect(square).to_have_accessible_name("Tuesday, June 10, 2025, 2025-06-10, Syncing")
    page.evaluate("window.neverReloaded = true")
    site.stop()
    try:
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        stack.target(_FINISH_DAY, [inserted["id"]])
        stack.target(_INSERT_MORE_THAN_IS_REPLAYED)
    finally:
        site.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(square).to_have_class("square success")
    assert page.evaluate("window.neverReloaded")
    stack.target(
        "DELETE FROM daily_sync_status WHERE dataset = 'busy' OR id = %s", [inserted["id"]]
    )


def test_a_tab_hidden_for_long_loads_what_it_missed(visit: Open, stack: Stack) -> None:
    page = visit("about:blank")
    page.add_init_script(_MAKE_HIDEABLE)
    page.clock.install()
    page.goto("/sync-status?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.evaluate("window.hide(true)")
    page.clock.fast_forward("04:00")
    (first,) = stack.target(_INSERT_BATCH)
    # At first, the hidden tab stays live, because its title shows the progress.
    expect(_row(page, first["id"])).to_be_attached()
    page.clock.fast_forward("02:00")
    expect(page.get_by_text("Reconnecting…")).to_be_attached()
    stack.target(_FINISH_BATCH, [first["id"]])
    (second,) = stack.target(_INSERT_BATCH)
    page.evaluate("window.hide(false)")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(_row(page, first["id"]).get_by_text("Success", exact=True)).to_be_visible()
    expect(_row(page, second["id"]).get_by_text("Syncing", exact=True)).to_be_visible()
    stack.target(_FINISH_BATCH, [second["id"]])


def test_a_browser_without_shared_workers_disconnects_while_hidden(
    visit: Open, stack: Stack
) -> None:
    page = visit("about:blank")
    page.add_init_script(_MAKE_HIDEABLE + "delete window.SharedWorker;")
    page.clock.install()
    page.goto("/sync-status?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    (first,) = stack.target(_INSERT_BATCH)
    expect(_row(page, first["id"])).to_be_visible()
    page.evaluate("window.hide(true)")
    page.clock.fast_forward(6_000)
    expect(page.get_by_text("Reconnecting…")).to_be_attached()
    stack.target(_FINISH_BATCH, [first["id"]])
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("window.hide(false)")
    expect(_row(page, first["id"]).get_by_text("Success", exact=True)).to_be_visible()
    assert [url for url in requests if "/list" in url] == []  # the stream replayed the changes


def test_the_page_is_live_only_if_the_server_says_so(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("sources[0].send('open'), sources[0].send('ping', { live: true })")
    page.evaluate(
        "sources[0].send('ping', { live: false }), sources[0].send('ping', { live: false })"
    )
    assert page.evaluate("[signals, stream.isLive, sources.length]") == [
        ["open", "disconnected"],
        False,
        1,
    ]
    page.evaluate("sources[0].send('ping', { live: true })")
    assert page.evaluate("[signals, stream.isLive]") == [["open", "disconnected", "live"], True]


def test_a_stream_that_falls_silent_is_reconnected(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("sources[0].send('open'), sources[0].send('ping', { live: true }, '41')")
    page.clock.run_for(39_000)
    page.evaluate("sources[0].send('record', {}, '42')")
    page.clock.run_for(39_000)
    assert page.evaluate("sources.length") == 1
    page.clock.run_for(3_000)
    assert page.evaluate("[sources[0].closed, sources.length]") == [True, 2]
    assert page.evaluate("sources[1].url") == "/api/v1/events?after=42"


def test_a_server_that_never_pings_is_not_considered_silent(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("sources[0].send('open'), sources[0].send('record', {}, '42')")
    page.clock.run_for(600_000)
    assert page.evaluate("[sources.length, stream.isLive]") == [1, True]


def test_the_backoff_grows_until_an_event_arrives(visit: Open) -> None:
    page = _with_fake_stream(visit)
    for attempt in range(1, 6):
        page.evaluate("sources.at(-1).send('open'), sources.at(-1).send('error')")
        page.clock.run_for(500 * 2 ** (attempt - 1))
        assert page.evaluate("sources.length") == attempt + 1
    page.evaluate("sources.at(-1).send('error')")
    page.clock.run_for(4_000)
    assert page.evaluate("sources.length") == 6  # the sixth backoff lasts at least five seconds
    page.clock.run_for(6_000)
    page.evaluate("sources.at(-1).send('ping', { live: true }), sources.at(-1).send('error')")
    page.clock.run_for(500)
    assert page.evaluate("sources.length") == 8


def test_a_reset_moves_the_position_even_if_its_id_is_lower(visit: Open) -> None:
    page = _with_fake_stream(visit)
    page.evaluate("sources[0].send('record', {}, '90'), sources[0].send('reset', {}, '17')")
    page.evaluate("sources[0].send('error')")
    page.clock.run_for(500)
    wait_until(lambda: page.evaluate("sources.length") == 2)
    assert page.evaluate("sources[1].url") == "/api/v1/events?after=17"


def test_after_a_reset_a_record_with_a_lower_change_number_is_newer(visit: Open) -> None:
    page = visit("/sync-status")
    script = """async () => {
        const { clear, isOlder, latest, store } = await import("/static/recordCache.js");
        const before = { id: 1, change: 90 };
        store([before]);
        const cached = latest({ id: 1, change: 5 }).change;
        clear();
        const restored = latest({ id: 1, change: 5 });
        return [cached, restored.change, isOlder(restored, before)];
    }"""
    assert page.evaluate(script) == [90, 5, False]


def _with_fake_stream(visit: Open) -> Page:
    page = visit("/static/icon.svg")
    page.goto("/healthz")
    page.clock.install()
    page.evaluate(_FAKE_STREAM)
    return page


def _row(page: Page, batch: int) -> Locator:
    return page.locator(f'.row[data-id="{batch}"]')
