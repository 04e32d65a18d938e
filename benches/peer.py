#!/usr/bin/env python3
"""The same job as a DuckDB script: what one would write instead of lookback.

usage: peer.py WORLD FROM TO OUT [--threads 2] [--memory-limit 12GB] [--bucket s3://NAME]

Reads the raw logs and reference tables that WORLD/job.toml names and writes the conversions and
the four reports of the report dates FROM..TO, both included, as Parquet files below OUT. The
rows are those that lookback writes. With a bucket, logs and tables lie in it, and files are
written below OUT in it, through httpfs; keys and endpoint come from the environment (AWS_*).

It has no memory: every call begins with the raw logs. It reads no more of them than these dates
need, and works no harder than that:

- ids seen once cannot be duplicates, so only those seen twice go through a window;
- link keys are taken out of URLs only for clicks that are counted or may win an order;
- times are numbers, local dates come from a list of the zone's offsets, links and buyers are
  small integers, and a click is sorted once, together with the orders it might win.

Left out, as scripts do: rejected rows and clean tables (nobody would read them), lenient column
types, checks before publishing, atomic publishing.
"""

import argparse
import datetime
import os
import pathlib
import re
import sys
import time
import tomllib
import zoneinfo

import duckdb

DAY = 86_400_000_000
HOUR = 3_600_000_000
NEVER = 2**31
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DATE = EPOCH.date()


# --- dates -------------------------------------------------------------------------------------


def micros(instant):
    return (instant - EPOCH) // datetime.timedelta(microseconds=1)


def start_of(date, zone):
    """The first instant of a local date, in microseconds."""
    low = (date - EPOCH_DATE).days * DAY - 16 * HOUR
    high = low + 32 * HOUR
    while low < high:
        middle = (low + high) // 2
        local = EPOCH + datetime.timedelta(microseconds=middle)
        if local.astimezone(zone).date() < date:
            low = middle + 1
        else:
            high = middle
    return low


def offsets(zone, start, end):
    """The zone's offsets from UTC: [(instant from which it holds, offset)], to the minute."""

    def offset(at):
        local = (EPOCH + datetime.timedelta(microseconds=at)).astimezone(zone)
        return local.utcoffset() // datetime.timedelta(microseconds=1)

    found = [(start, offset(start))]
    at = start
    while at < end:
        following = min(at + 6 * HOUR, end)
        if offset(following) != found[-1][1]:
            low, high = at, following
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == found[-1][1] else (low, middle)
            found.append((high, offset(high)))
        at = following
    return found


def local_date(column, known):
    """SQL for the local date of a column of microseconds."""
    shift = str(known[0][1])
    for since, offset in known[1:]:
        shift = f"case when {column} >= {since} then {offset} else {shift} end"
    return f"(date '1970-01-01' + (({column} + ({shift})) // {DAY})::integer)"


# --- links -------------------------------------------------------------------------------------


def with_link_key(rows, formats):
    """SQL for `rows` with the key of the promotion link in `url`; '' or null when there is none.
    The first format that matches decides, so each looks only at what those before it left."""
    rows = f"select *, '' as link_key from {rows}"
    for regexp in formats:
        group = re.search(r"(?<!\\)\((?!\?)(.*?)(?<!\\)\)", regexp)
        if group is None or re.fullmatch(group.group(1), ""):
            sys.exit(f"the group of {regexp} might be empty, which this script does not handle")
        found = f"regexp_extract(url, '{quoted(regexp)}', 1)"
        # A format that begins in the middle of a URL is found faster by its literal beginning:
        # from there it is anchored. Should it not match there, it may match further on.
        literal = re.match(r"\[[^\]]+\](\w{4,}=)", regexp)
        if literal:
            rest = f"substr(url, strpos(url, '{literal.group(1)}') - 1)"
            at_first = f"regexp_extract({rest}, '^{quoted(regexp)}', 1)"
            rows = unless_found(at_first, rows)
            found = f"case when contains(url, '{literal.group(1)}') then {found} else '' end"
        rows = unless_found(found, rows)
    return rows


def unless_found(found, rows):
    key = f"case when link_key = '' then {found} else link_key end"
    return f"select * replace ({key} as link_key) from ({rows})"


def quoted(text):
    return text.replace("'", "''")


# --- the job -----------------------------------------------------------------------------------


class Job:
    def __init__(self, script, arguments):
        first, last = arguments.first, arguments.last
        with open(arguments.world / "job.toml", "rb") as file:
            job = tomllib.load(file)
        self.script = script
        place = arguments.bucket or arguments.world
        self.input = {name: f"{place}/{path}" for name, path in job["input"].items()}
        program = job["program"]
        self.currency = program.get("currency", "USD")
        self.default_rate = program["default_rate"]
        attribution = job.get("attribution", {})
        self.window = attribution.get("window_hours", 720) * HOUR
        self.after = ">" if attribution.get("tie", "before") == "before" else ">="
        self.same_store = attribution.get("scope", "platform") == "store"
        lateness = job.get("lateness", {})
        self.late = lateness.get("late_days", 2)
        self.horizon = lateness.get("order_horizon_days", 90) * DAY
        self.from_logs = job.get("identity", {}).get("from_logs", False)
        self.nobody = job.get("identity", {}).get("nobody", [])
        self.formats = job["links"]["formats"]
        zone = zoneinfo.ZoneInfo(program.get("time_zone", "UTC"))
        self.start = start_of(first, zone)
        self.end = start_of(last + datetime.timedelta(days=1), zone)
        self.offsets = offsets(zone, self.start - 2 * DAY, self.end + 2 * DAY)

    def files(self, log, start):
        """Files whose rows may lie in start..end, or decide which of those are duplicates."""
        first = EPOCH_DATE + datetime.timedelta(days=(start - HOUR) // DAY - self.late - 2)
        last = EPOCH_DATE + datetime.timedelta(days=(self.end - 1) // DAY + self.late)
        pattern = f"{self.input[log]}/dt=*/*.parquet"
        found = [
            file
            for (file,) in self.script.run(f"from glob('{quoted(pattern)}') order by file").fetchall()
            if first <= datetime.date.fromisoformat(file.split("/")[-2][3:]) <= last
            and not file.split("/")[-1].startswith(("_", "."))
        ]
        return f"read_parquet({found}, hive_partitioning = true, hive_types = {{dt: date}})"

    def id_of(self, column):
        """SQL: a buyer or a visitor, null where it is a word that stands for nobody."""
        words = ", ".join(f"'{quoted(word)}'" for word in ["", *self.nobody])
        return f"case when {column} not in ({words}) then {column} end as {column}"

    def in_time(self, at):
        """SQL: neither too late nor in the future for landing date `dt`."""
        dt = f"(dt - date '1970-01-01')::bigint * {DAY}"
        return f"{at} >= {dt} - {self.late * DAY} and {at} < {dt} + {25 * HOUR}"


class Script:
    def __init__(self, arguments):
        self.connection = duckdb.connect()
        if arguments.bucket:
            self.reach_bucket()
        self.run(f"set threads = {arguments.threads}")
        self.run(f"set memory_limit = '{arguments.memory_limit}'")
        self.run(f"set temp_directory = '{arguments.out / 'tmp'}'")
        self.run("set preserve_insertion_order = false")
        self.run("set timezone = 'UTC'")
        self.out = arguments.out
        if arguments.bucket:
            self.out = f"{arguments.bucket}/{arguments.out.name}"
        self.timings = arguments.timings
        self.started = time.perf_counter()

    def reach_bucket(self):
        """httpfs as the package brings it: nothing is downloaded."""
        import duckdb_extension_httpfs

        folder = pathlib.Path(duckdb_extension_httpfs.__file__).parent
        extension = next(folder.rglob("httpfs.duckdb_extension"))
        self.run(f"load '{extension}'")
        scheme, _, host = os.environ["AWS_ENDPOINT_URL"].partition("://")
        self.run(
            f"""create secret (type s3, provider config, url_style 'path', endpoint '{host}',
                use_ssl {scheme == 'https'}, region '{os.environ['AWS_REGION']}',
                key_id '{os.environ['AWS_ACCESS_KEY_ID']}',
                secret '{os.environ['AWS_SECRET_ACCESS_KEY']}')"""
        )

    def run(self, sql):
        return self.connection.execute(sql)

    def value(self, sql):
        return self.run(sql).fetchone()[0]

    def table(self, name, sql):
        self.run(f"create temp table {name} as {sql}")
        self.lap(name)

    def write(self, name, sql):
        self.run(f"copy ({sql}) to '{self.out}/{name}.parquet' (format parquet, compression zstd)")
        self.lap(f"write {name}")

    def lap(self, what):
        if self.timings:
            print(f"{time.perf_counter() - self.started:7.2f} s  {what}", file=sys.stderr)


# --- what it does ------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", type=pathlib.Path, help="folder with job.toml")
    parser.add_argument("first", type=datetime.date.fromisoformat, metavar="FROM")
    parser.add_argument("last", type=datetime.date.fromisoformat, metavar="TO")
    parser.add_argument("out", type=pathlib.Path, help="folder for the result tables")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-limit", default="12GB")
    parser.add_argument("--bucket", help="where logs and tables are, and files are written")
    parser.add_argument("--timings", action="store_true", help="say what took how long")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    script = Script(arguments)
    job = Job(script, arguments)
    read_reference(script, job)
    read_orders(script, job)
    read_clicks(script, job)
    attribute(script, job)
    keep_ledger(script, job)
    write_reports(script, job)


def read_reference(script, job):
    def csv(name):
        return f"read_csv('{job.input[name]}', header = true, all_varchar = true)"

    def instant(column, otherwise):
        return f"coalesce(epoch_us({column}::timestamptz), {otherwise})"

    def with_span(rows):
        """The rows, with open ends where the table has none."""
        none = "select null::varchar as valid_from, null::varchar as valid_to where false"
        return f"({none} union all by name select * from {rows})"

    earliest, latest = -(2**62), 2**62
    span = f"{instant('valid_from', earliest)} as since, {instant('valid_to', latest)} as until"
    script.table(
        "links",
        f"""select row_number() over ()::integer as link_no, link_key, publisher_id,
                nullif(tracking_id, '') as tracking_id, {span}
            from {csv('links')}""",
    )
    script.table(
        "stores",
        f"""select store_id, {instant('joined_at', earliest)} as since,
                {instant('left_at', latest)} as until
            from {csv('stores')}""",
    )
    script.table(
        "rates",
        f"""select scope, scope_id, nullif(store_id, '') as store_id,
                rate::decimal(9, 6) as rate, {span}
            from {csv('rates')}""",
    )
    script.table(
        "fx_rates",
        f"""select currency, (rate_date::date - date '1970-01-01')::bigint as since,
                coalesce(lead(since) over (partition by currency order by since), 1000000)
                    as until,
                rate::decimal(18, 8) as rate
            from {csv('fx_rates')}"""
        if "fx_rates" in job.input
        else "select '' as currency, 0 as since, 0 as until, 0::decimal(18, 8) as rate limit 0",
    )
    script.table(
        "identities",
        f"select visitor_id, buyer_id, {span} from {with_span(csv('identities'))}"
        if "identities" in job.input
        else "select '' as visitor_id, '' as buyer_id, 0 as since, 0 as until limit 0",
    )


def read_orders(script, job):
    """`events`: all valid events of lines with an event on the report dates. `lines`: those
    lines, by the placed event that counts."""
    # Of the oldest line to book, an earlier placed event and the sightings in its window matter.
    back = job.horizon + max(job.horizon, job.window if job.from_logs else 0)
    raw = job.files("orders", job.start - back)
    columns = script.run(f"describe from {raw}").fetchall()
    has_visitors = any(column[0] == "visitor_id" for column in columns)
    seen_twice(script, "event_id", raw)
    script.table(
        "moving",
        f"""select distinct order_id, line_id from {raw}
            where event_at >= make_timestamptz({job.start})
                and event_at < make_timestamptz({job.end})""",
    )
    content = (
        "event_type order_id line_id buyer_id store_id amount currency product_id category_id "
        "quantity country reason"
    )
    if has_visitors:
        content += " visitor_id"
    visitor_id = job.id_of("visitor_id") if has_visitors else "null::varchar as visitor_id"
    is_sighting = f"{job.from_logs} and event_type = 'placed' and visitor_id is not null"
    texts = "store_id currency product_id category_id country reason"
    script.table(
        "kept_events",
        f"""
        with raw as (
            select dt, event_id, event_type, epoch_us(event_at) as moment, order_id, line_id,
                {', '.join(f"nullif({text}, '') as {text}" for text in texts.split())},
                {job.id_of('buyer_id')}, {visitor_id}, quantity, amount,
                hash(event_id) in (from twice_event_id) as is_repeated
            from {raw}
            where event_id <> '' and order_id <> '' and line_id <> ''
                and event_type in ('placed', 'paid', 'completed', 'cancelled', 'refunded')
                and {job.in_time('epoch_us(event_at)')}
        ),
        priced as (
            select raw.*, moving.order_id is not null as is_moving,
                case when round(amount, 4) = amount and abs(amount) < 1e14::decimal(38, 4)
                    then amount::decimal(18, 4) end as original,
                case when raw.currency = '{job.currency}' then 1::decimal(18, 8)
                    else fx_rates.rate end as fx,
                (original * fx)::decimal(38, 2) as converted
            from raw
            left join fx_rates
                on case when event_type = 'placed' then raw.currency end = fx_rates.currency
                and moment // {DAY} >= fx_rates.since and moment // {DAY} < fx_rates.until
            left join moving
                on raw.order_id = moving.order_id and raw.line_id = moving.line_id
            where is_repeated or is_moving or {is_sighting}
        )
        select dt, event_id, event_type, moment, order_id, line_id, buyer_id, store_id,
            product_id, category_id, country, original, currency, fx,
            converted::decimal(18, 2) as amount, reason, visitor_id, is_repeated, is_moving,
            {content_of(content, 'is_repeated')} as content
        from priced
        where case event_type
                when 'placed' then
                    buyer_id is not null and store_id is not null and original >= 0
                    and fx is not null and converted < 1e16::decimal(38, 2)
                when 'refunded' then original > 0
                else true
            end
        """,
    )
    without_duplicates(script, job, "events", "event_id")
    # Hardly a line is placed twice, so only those that are go through a window.
    placed = f"""from events where event_type = 'placed' and (is_moving or is_repeated)
            and moment >= {job.start - 2 * job.horizon} and moment < {job.end}"""
    script.table(
        "placed_twice",
        f"select hash(order_id, line_id) as h {placed} group by h having count(*) > 1",
    )
    script.table(
        "lines",
        f"""
        with placed as (
            select *, hash(order_id, line_id) in (from placed_twice) as is_again {placed}
        ),
        after as (
            select *, null as previous from placed where not is_again
            union all
            select *, lag(moment) over (partition by order_id, line_id order by moment, event_id)
            from placed where is_again
        )
        select row_number() over ()::integer as line_no, event_id, moment as placed_at, order_id,
            line_id, buyer_id, store_id, product_id, category_id, country, original, currency,
            fx, amount, moment >= {job.start} as is_own
        from after
        where moment >= {job.start - job.horizon}
            and (previous is null or previous < moment - {job.horizon})
        """,
    )
    script.table(
        "buyers",
        """select buyer_id, row_number() over ()::integer as buyer_no
           from (select distinct buyer_id from lines)""",
    )


def read_clicks(script, job):
    """`clicks`: valid clicks of the report dates, and those of buyers in `lines`."""
    oldest = script.value("select min(placed_at) from lines")
    oldest = job.start if oldest is None else min(oldest - job.window, job.start)
    raw = job.files("clicks", oldest)
    seen_twice(script, "click_id", raw)
    # Visitors whom the logs may know as one of the buyers: a few too many, for some of these rows
    # may be invalid.
    seen = f"""
        select visitor_id, buyer_id from {raw}
        where epoch_us(clicked_at) >= {oldest} and epoch_us(clicked_at) < {job.end}
        union all
        select visitor_id, buyer_id from events where event_type = 'placed'"""
    script.table(
        "visitors",
        f"""select row_number() over ()::integer as visitor_no, visitor_id
            from (select distinct visitor_id from ({seen}) inner join buyers using (buyer_id)
                where visitor_id <> '')"""
        if job.from_logs
        else "select 0 as visitor_no, '' as visitor_id limit 0",
    )
    # Who is behind a click: the buyer it names, else the one its visitor is known to be, who may
    # have ordered nothing.
    script.table(
        "known",
        """select buyer_id as id, true as is_buyer, buyer_no, null as since, null as until
           from buyers
           union all
           select visitor_id, false, buyer_no, since, until
           from identities
           left join buyers using (buyer_id)
           left join visitors using (visitor_id)
           where buyer_no is not null or visitor_no is not null""",
    )
    texts = "buyer_id visitor_id store_id product_id country device"
    # Without sightings nobody asks for the visitor.
    visitor_no, join_visitors = "null::integer", ""
    if job.from_logs:
        visitor_no = "visitors.visitor_no"
        join_visitors = "left join visitors on raw.visitor_id = visitors.visitor_id"
    script.table(
        "kept_clicks",
        f"""
        with raw as (
            select dt, click_id, epoch_us(clicked_at) as moment, url,
                {', '.join(f"nullif({text}, '') as {text}" for text in texts.split()[2:])},
                {job.id_of('buyer_id')}, {job.id_of('visitor_id')},
                hash(click_id) in (from twice_click_id) as is_repeated
            from {raw}
            where click_id <> '' and {job.in_time('epoch_us(clicked_at)')}
        ),
        matched as (
            select raw.*, {visitor_no} as visitor_no,
                -- A trail is a set of clicks that are candidates together: those of a buyer, or
                -- the anonymous ones of a visitor whom identities do not know.
                case when known.buyer_no is not null then 2 * known.buyer_no
                    when raw.buyer_id is null and known.id is null then 2 * {visitor_no} + 1
                    end as trail,
                case when raw.buyer_id is not null then 'buyer'
                    when known.id is not null then 'identities' else 'logs' end as matched_by
            from raw
            left join known
                on coalesce(raw.buyer_id, raw.visitor_id) = known.id
                and raw.buyer_id is not null = known.is_buyer
                and (known.is_buyer or moment >= since and moment < until)
            {join_visitors}
        ),
        wanted as (
            from matched
            where moment < {job.end}
                and (moment >= {job.start}
                    or moment >= {oldest} and (trail is not null or visitor_no is not null))
                or is_repeated
        ),
        linked as ({with_link_key('wanted', job.formats)})
        select dt, moment, link_no, store_id, country, device, trail, matched_by, is_repeated,
            visitor_no, case when visitor_no is not null then buyer_id end as seen_buyer_id,
            -- A person is a 64-bit hash: counted apart per report row, of which the largest has
            -- some thousand visitors.
            case when visitor_id is not null then hash(visitor_id)
                when buyer_id is not null then hash(buyer_id, true) end as person,
            case when is_repeated or trail is not null then click_id end as click_id,
            {content_of('url ' + texts, 'is_repeated')} as content
        from linked
        inner join links
            on linked.link_key = links.link_key
            and moment >= links.since and moment < links.until
        """,
    )
    without_duplicates(script, job, "clicks", "click_id")


def seen_twice(script, key, raw):
    """`twice_KEY`: hashes of ids that may be there more than once. No others can be
    duplicates, and a few too many do no harm."""
    script.table(
        f"twice_{key}", f"select hash({key}) as h from {raw} group by h having count(*) > 1"
    )


def content_of(columns, condition):
    """SQL: a row's columns as one text that sorts as they do one by one, null being less than
    any text. (Control characters in a text would upset that.)"""
    texts = []
    for column in columns.split():
        text = column
        if column in ("amount", "quantity"):
            # Numbers as texts that sort by value.
            shifted = f"(try_cast({column} as decimal(38, 10)) + 1e20::decimal(38, 10))"
            text = f"lpad({shifted}::varchar, 40, '0')"
        texts.append(f"coalesce({text}, '')")
    return f"case when {condition} then concat_ws(chr(1), {', '.join(texts)}) end"


def without_duplicates(script, job, name, key):
    """View `NAME` of `kept_NAME`: without rows whose id landed already not long before."""
    script.table(
        f"first_{name}",
        f"""select * exclude (previous_dt) from (
                select *, lag(dt) over (partition by {key} order by dt, moment, content)
                    as previous_dt
                from kept_{name} where is_repeated
            )
            where previous_dt is null or previous_dt < dt - {job.late + 2}""",
    )
    script.run(
        f"""create temp view {name} as
            from kept_{name} where not is_repeated union all from first_{name}"""
    )


def attribute(script, job):
    """`credits`: every line with its status, the click that won, and its rate."""
    # Whose clicks may win: the buyer's, or the buyer's at the order's own store.
    per_store = ["store_id"] if job.same_store else []
    whose = ", ".join(["buyer_no", *per_store])
    script.table(
        "purchases",
        f"""select row_number() over ()::integer as purchase_no, placed_at, {whose}
            from (
                select distinct {whose}, placed_at from lines inner join buyers using (buyer_id)
            )""",
    )
    sighted(script, job)
    columns = ["trail", *per_store]
    names = ", ".join(columns)
    script.table(
        "openings",
        f"""select purchase_no, placed_at, 2 * buyer_no as trail {', store_id' * len(per_store)}
            from purchases
            union all
            select purchase_no, placed_at, 2 * visitor_no + 1 {', store_id' * len(per_store)}
            from purchases inner join purchase_visitors using (purchase_no)""",
    )
    script.table(
        "trail_clicks",
        """select trail, moment, click_id, link_no, store_id, country, device, matched_by
           from clicks where trail is not null""",
    )
    # Each click knows how many its trail had before that moment, and up to it: then the newest
    # candidate and the oldest one also tell how many there are.
    script.table(
        "click_counts",
        f"""select {names}, moment, rank() over line - 1 as before, count(*) over line as so_far
            from trail_clicks
            window line as (partition by {names} order by moment)""",
    )
    script.table(
        "latest",
        f"""select openings.*, placed_at - {job.window} as opens_at, moment as clicked_at, so_far
            from openings asof join click_counts as clicks
                on {same(columns, 'openings', 'clicks')}
                and openings.placed_at {job.after} clicks.moment
            where moment >= placed_at - {job.window}""",
    )
    script.table(
        "spans",
        f"""select latest.*, moment as first_click_at, latest.so_far - before as clicks_in_window
            from latest asof join click_counts as clicks
                on {same(columns, 'latest', 'clicks')} and latest.opens_at <= clicks.moment""",
    )
    script.table(
        "of_trails",
        f"""select purchase_no, any_value(first_click_at) as first_click_at,
                any_value(clicks_in_window) as clicks_in_window,
                any_value(clicked_at) as clicked_at,
                max({{click_id: click_id, link_no: link_no, store_id: clicks.store_id,
                    country: country, device: device, matched_by: matched_by}}) as click
            from spans
            inner join trail_clicks as clicks
                on {same(columns, 'spans', 'clicks')} and spans.clicked_at = clicks.moment
            group by purchase_no, spans.trail""",
    )
    # No click is on two trails of a purchase.
    script.table(
        "winners",
        """select purchase_no, min(first_click_at) as first_click_at,
                sum(clicks_in_window)::bigint as clicks_in_window, max(clicked_at) as clicked_at,
                max({clicked_at: clicked_at, click: click}).click as click
            from of_trails group by purchase_no""",
    )
    scopes = [("product", "product_id"), ("category", "category_id"), ("store", "store_id")]
    joins, rates, sources = [], [], []
    for scope, column in scopes:
        for store, of_store in [("own", "= lines.store_id"), ("any", "is null")]:
            name = f"{scope}_{store}"
            joins.append(
                f"""left join (from rates where scope = '{scope}'
                        and store_id is {'not' if store == 'own' else ''} null) as {name}
                    on {name}.scope_id = lines.{column}
                    {f'and {name}.store_id = lines.store_id' if store == 'own' else ''}
                    and lines.placed_at >= {name}.since and lines.placed_at < {name}.until"""
            )
            rates.append(f"{name}.rate")
            sources.append(f"when {name}.rate is not null then '{scope}'")
    script.table(
        "credits",
        f"""
        with earned as (
            select lines.*,
                case when stores.store_id is null then 'store_not_joined'
                    when winners.purchase_no is null then 'no_click'
                    else 'attributed' end as status,
                clicks_in_window, first_click_at, clicked_at, click,
                coalesce({', '.join(rates)}, {job.default_rate}::decimal(9, 6)) as rate,
                case {' '.join(sources)} else 'default' end as rate_source
            from lines
            inner join buyers on lines.buyer_id = buyers.buyer_id
            inner join purchases
                on buyers.buyer_no = purchases.buyer_no and lines.placed_at = purchases.placed_at
                {'and lines.store_id = purchases.store_id' if job.same_store else ''}
            left join winners on purchases.purchase_no = winners.purchase_no
            left join stores
                on lines.store_id = stores.store_id
                and lines.placed_at >= stores.since and lines.placed_at < stores.until
            {' '.join(joins)}
        ),
        blank as (
            select * replace (
                case when status = 'attributed' then clicks_in_window end as clicks_in_window,
                case when status = 'attributed' then first_click_at end as first_click_at,
                case when status = 'attributed' then clicked_at end as clicked_at,
                case when status = 'attributed' then click end as click,
                case when status = 'attributed' then rate end as rate,
                case when status = 'attributed' then rate_source end as rate_source
            )
            from earned
        )
        select blank.* exclude (click), click.click_id as click_id,
            click.store_id as click_store_id, click.country as click_country,
            click.device as click_device, click.matched_by as matched_by, publisher_id, tracking_id, link_key
        from blank
        left join links on click.link_no = links.link_no
        """,
    )


def sighted(script, job):
    """`purchase_visitors`: who the buyer was by the latest sighting up to the purchase (C7)."""
    script.table(
        "purchase_visitors",
        f"""
        with seen as (
            select visitor_no, moment, seen_buyer_id as buyer_id
            from clicks where seen_buyer_id is not null
            union all
            select visitor_no, moment, buyer_id
            from events inner join visitors using (visitor_id) where event_type = 'placed'
        ),
        deciding as (
            select visitor_no, moment, max(buyer_id) as buyer_id from seen group by all
        ),
        numbered as (
            select visitor_no, moment, buyer_no from deciding left join buyers using (buyer_id)
        ),
        pairs as (
            select purchases.*, visitor_no
            from purchases
            inner join (select distinct visitor_no, buyer_no from numbered) using (buyer_no)
        )
        select purchase_no, pairs.visitor_no
        from pairs asof join numbered
            on pairs.visitor_no = numbered.visitor_no and pairs.placed_at >= numbered.moment
        where numbered.buyer_no = pairs.buyer_no and moment >= placed_at - {job.window}
        """
        if job.from_logs
        else "select 0 as purchase_no, 0 as visitor_no limit 0",
    )


def same(columns, left, right):
    return " and ".join(f"{left}.{column} = {right}.{column}" for column in columns)


def keep_ledger(script, job):
    """`movements`: what each event on the report dates did to its line."""
    turn = "['placed', 'paid', 'completed', 'cancelled', 'refunded']"
    money = "decimal(18, 2)"
    script.table(
        "movements",
        f"""
        with line_events as (
            select events.event_id, events.event_type as movement, events.moment,
                list_position({turn}, events.event_type) as turn, events.reason,
                events.original as event_original,
                coalesce(events.currency, lines.currency) as event_currency,
                -- A refund in another currency than its line's gives nothing back.
                case when movement = 'refunded' and event_currency = lines.currency
                    then event_original else 0 end as asked,
                lines.line_no, lines.original, lines.currency, lines.fx,
                coalesce(lines.rate, 0) as known_rate
            from events
            inner join credits as lines
                on events.order_id = lines.order_id and events.line_id = lines.line_id
                and events.moment >= lines.placed_at
                and events.moment <= lines.placed_at + {job.horizon}
            where events.moment < {job.end}
                and (events.event_type <> 'placed'
                    or events.event_id = lines.event_id and events.moment = lines.placed_at)
        ),
        -- Where in the line's life it was first paid, completed and cancelled, if it was yet.
        placed_in_line as (
            select *,
                sum(asked) over line as asked_so_far,
                coalesce(min(case when movement = 'paid' then nth end) over line, {NEVER})
                    as paid,
                coalesce(min(case when movement = 'completed' then nth end) over line, {NEVER})
                    as completed,
                coalesce(min(case when movement = 'cancelled' then nth end) over line, {NEVER})
                    as cancelled
            from (
                select *, row_number() over (
                    partition by line_no order by moment, turn, event_id) as nth
                from line_events
            )
            window line as (partition by line_no order by nth
                rows between unbounded preceding and current row)
        ),
        judged as (
            select *,
                greatest(original - asked_so_far, 0)::decimal(18, 4) as left_after,
                greatest(original - asked_so_far + asked, 0)::decimal(18, 4) as left_before,
                (left_after * fx)::{money} as net_after,
                (left_before * fx)::{money} as net_before,
                (net_after * known_rate)::{money} as commission_after,
                (net_before * known_rate)::{money} as commission_before,
                paid < completed and paid < cancelled as is_booked,
                completed < cancelled as is_completed,
                cancelled < completed as is_cancelled,
                is_booked and paid = nth as is_booking,
                is_completed and completed = nth as is_completion,
                is_cancelled and cancelled = nth as is_cancellation
            from placed_in_line
        ),
        balanced as (
            select *,
                case when is_booked and not is_completed and not is_cancelled
                    then commission_after else 0 end
                - case when is_booked and not is_booking
                        and (not is_completed or is_completion)
                        and (not is_cancelled or is_cancellation)
                    then commission_before else 0 end as pending_commission,
                case when is_completed then commission_after else 0 end
                - case when is_completed and not is_completion
                    then commission_before else 0 end as approved_commission
            from judged
            where moment >= {job.start}
        )
        select {local_date('moment', job.offsets)} as report_date, event_id, movement, moment,
            movement = 'placed' or is_booking or is_completion or is_cancellation
                or movement = 'refunded' and left_before > left_after as is_effective,
            line_no,
            case when movement = 'placed' then net_after else net_after - net_before end
                as sale_amount,
            net_after,
            movement = 'refunded' and left_before > left_after and left_after = 0
                as is_full_refund,
            pending_commission, approved_commission,
            case when movement in ('placed', 'refunded') then event_original end
                as original_amount,
            case when movement in ('placed', 'refunded') then event_currency end
                as original_currency,
            reason
        from balanced
        """,
    )


def write_reports(script, job):
    money = "decimal(18, 2)"
    script.write(
        "conversions",
        f"""select {local_date('placed_at', job.offsets)} as order_date, order_id, line_id,
                make_timestamptz(placed_at) as placed_at, event_id, buyer_id, store_id,
                product_id, category_id, country, amount, status, click_id,
                make_timestamptz(clicked_at) as clicked_at, publisher_id, tracking_id, link_key,
                clicks_in_window, make_timestamptz(first_click_at) as first_click_at,
                (placed_at - clicked_at) // 1000000 as seconds_to_order,
                rate as commission_rate, rate_source, matched_by
            from credits where is_own""",
    )
    dimensions = "report_date, publisher_id, tracking_id, store_id, country, device"
    script.write(
        "traffic",
        f"""
        with tagged as (
            select dense_rank() over (order by publisher_id, tracking_id)::integer as tag, *
            from links
        ),
        tags as (select distinct tag, publisher_id, tracking_id from tagged),
        people as (
            select {local_date('moment', job.offsets)} as report_date, tag, store_id, country,
                device, person, count(*) as clicks
            from clicks inner join tagged using (link_no)
            where moment >= {job.start} and moment < {job.end}
            group by all
        ),
        visits as (
            select report_date, tag, store_id, country, device, sum(clicks) as clicks,
                count(person) as visitors
            from people group by all
        ),
        named as (
            select {dimensions}, clicks, visitors, 0 as orders, 0 as order_lines,
                0::{money} as order_amount
            from visits inner join tags using (tag)
        ),
        earned as (
            select {local_date('placed_at', job.offsets)} as report_date, publisher_id,
                tracking_id, click_store_id as store_id, click_country as country,
                click_device as device, 0 as clicks, 0 as visitors,
                count(distinct order_id) as orders, count(*) as order_lines,
                sum(amount) as order_amount
            from credits where is_own and status = 'attributed'
            group by all
        )
        select report_date, publisher_id, coalesce(tracking_id, '(none)') as tracking_id,
            coalesce(store_id, '(none)') as store_id, coalesce(country, '(none)') as country,
            coalesce(device, '(none)') as device,
            sum(clicks)::bigint as clicks, sum(visitors)::bigint as visitors,
            sum(orders)::bigint as orders, sum(order_lines)::bigint as order_lines,
            sum(order_amount)::{money} as order_amount
        from (from named union all from earned)
        group by all
        """,
    )
    sums = []
    for movement, commission in [
        ("placed", None),
        ("paid", "sum(pending) filter (movement = 'paid') as estimated_commission"),
        ("completed", "sum(approved) filter (movement = 'completed') as actual_commission"),
        ("cancelled", None),
    ]:
        here = f"filter (movement = '{movement}')"
        sums.append(f"count(*) {here} as {movement}_orders")
        sums.append(f"coalesce(sum(lines) {here}, 0)::bigint as {movement}_lines")
        sums.append(f"coalesce(sum(amount) {here}, 0)::{money} as {movement}_amount")
        if commission:
            total, name = commission.split(" as ")
            sums.append(f"coalesce({total}, 0)::{money} as {name}")
    publisher = "case when status = 'attributed' then publisher_id else '(unattributed)' end"
    script.write(
        "orders",
        f"""
        with by_order as (
            select report_date, store_id, {publisher} as publisher_id, movement, order_id,
                count(*) as lines, sum(net_after) as amount, sum(pending_commission) as pending,
                sum(approved_commission) as approved
            from movements inner join credits using (line_no)
            where is_effective and movement <> 'refunded'
            group by all
        )
        select report_date, store_id, publisher_id, {', '.join(sums)}
        from by_order group by all
        """,
    )
    script.write(
        "refunds",
        f"""select report_date, store_id, {publisher} as publisher_id,
                count(distinct order_id) as refunded_orders,
                count(distinct (order_id, line_id)) as refunded_lines,
                count(*) as refunds,
                (-sum(sale_amount))::{money} as refund_amount,
                count(*) filter (is_full_refund) as full_refunds,
                (-sum(pending_commission))::{money} as pending_reversed,
                (-sum(approved_commission))::{money} as approved_reversed
            from movements inner join credits using (line_no)
            where is_effective and movement = 'refunded'
            group by all""",
    )
    script.write(
        "transaction_details",
        f"""select report_date, movements.event_id, movement, make_timestamptz(moment) as event_at,
                is_effective, order_id, line_id, buyer_id, store_id, product_id, category_id,
                country, publisher_id, tracking_id, click_id,
                make_timestamptz(clicked_at) as clicked_at,
                make_timestamptz(placed_at) as placed_at,
                (placed_at - clicked_at) // 1000000 as seconds_to_order,
                rate as commission_rate, rate_source, sale_amount::{money} as sale_amount,
                pending_commission::{money} as pending_commission,
                approved_commission::{money} as approved_commission,
                original_amount, original_currency, reason
            from movements inner join credits using (line_no)
            where status = 'attributed'""",
    )
    script.write(
        "unbooked_events",
        f"""select {local_date('moment', job.offsets)} as report_date, event_id, event_type,
                make_timestamptz(moment) as event_at, order_id, line_id,
                case when event_type in ('placed', 'refunded') then original end
                    as original_amount,
                case when event_type in ('placed', 'refunded') then currency end
                    as original_currency,
                case when event_type = 'placed' then 'repetition' else 'orphan' end as why
            from events
            anti join movements using (event_id, moment)
            where moment >= {job.start} and moment < {job.end}""",
    )


if __name__ == "__main__":
    main()
