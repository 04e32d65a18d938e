-- Raw rows that were rejected, whole, each with the first reason that applied.
--
-- grain:  one row per rejected raw row
-- kind:   stored
-- version: 3
-- reads:  clean.checked_clicks, clean.repeated_clicks, clean.checked_order_events,
--         clean.repeated_order_events, clean.raw_records
-- params: $first_dt, $last_dt
-- columns:
--   dt      date  UTC date on which the row arrived
--   log     text  the log it is in: clicks or orders
--   reason  text  the first reason that applied (C1, C2)
--   row_id  id    the row's click_id or event_id, null when it has none
--   record  json  the raw row with the log's own names, values as text
--
-- Where the log has our names, a record is what was read in the row, and its further columns. Where
-- it has others, the record has the row under them, and the object lookback holds what was read.
-- Of bad texts nothing was read, so the row itself is the record.
--
-- Together with the clean tables these are all raw rows: nothing is lost (C4).
with records as (
    select row_at, record
    from clean.raw_records
),

rejected_clicks as (
    select
        dt, reject_reason, click_id, clicked_at, url, buyer_id, visitor_id, store_id, product_id,
        country, device, record, is_bad_text, has_own_names
    from clean.checked_clicks as checked
    left join records on checked.row_at = records.row_at
    where not is_accepted
        and reject_reason is not null
        and dt >= $first_dt
        and dt <= $last_dt
    union all
    select
        dt, reject_reason, click_id, clicked_at, url, buyer_id, visitor_id, store_id, product_id,
        country, device, record, is_bad_text, has_own_names
    from clean.repeated_clicks
    where reject_reason is not null and dt >= $first_dt and dt <= $last_dt
),

rejected_events as (
    select
        dt, reject_reason, event_id, event_type, event_at, order_id, line_id, buyer_id, store_id,
        amount, currency, product_id, category_id, quantity, country, reason,
        visitor_id, record, is_bad_text, has_own_names
    from clean.checked_order_events as checked
    left join records on checked.row_at = records.row_at
    where not is_accepted
        and reject_reason is not null
        and dt >= $first_dt
        and dt <= $last_dt
    union all
    select
        dt, reject_reason, event_id, event_type, event_at, order_id, line_id, buyer_id, store_id,
        amount, currency, product_id, category_id, quantity, country, reason,
        visitor_id, record, is_bad_text, has_own_names
    from clean.repeated_order_events
    where reject_reason is not null and dt >= $first_dt and dt <= $last_dt
),

click_rejects as (
    select
        dt,
        'clicks' as log,
        reject_reason as reason,
        click_id as row_id,
        record,
        is_bad_text,
        has_own_names,
        make_array(
            'click_id', click_id,
            'clicked_at', cast(clicked_at as varchar),
            'url', url,
            'buyer_id', buyer_id,
            'visitor_id', visitor_id,
            'store_id', store_id,
            'product_id', product_id,
            'country', country,
            'device', device
        ) as reading
    from rejected_clicks
),

order_rejects as (
    select
        dt,
        'orders' as log,
        reject_reason as reason,
        event_id as row_id,
        record,
        is_bad_text,
        has_own_names,
        make_array(
            'event_id', event_id,
            'event_type', event_type,
            'event_at', cast(event_at as varchar),
            'order_id', order_id,
            'line_id', line_id,
            'buyer_id', buyer_id,
            'store_id', store_id,
            'amount', amount,
            'currency', currency,
            'product_id', product_id,
            'category_id', category_id,
            'quantity', cast(quantity as varchar),
            'country', country,
            'reason', reason,
            'visitor_id', visitor_id
        ) as reading
    from rejected_events
),

rejects as (
    select dt, log, reason, row_id, record, is_bad_text, has_own_names, reading
    from click_rejects
    union all
    select dt, log, reason, row_id, record, is_bad_text, has_own_names, reading
    from order_rejects
)

select
    dt,
    log,
    reason,
    row_id,
    case
        when has_own_names then with_reading(record, reading)
        when is_bad_text then record
        else with_columns(record, reading)
    end as record
from rejects
order by dt, log, reason, row_id, record
