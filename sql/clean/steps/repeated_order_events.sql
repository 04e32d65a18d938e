-- Raw order events whose id occurs more than once, each with the verdict on it.
--
-- grain:  one row per raw row of such an id, of the landing dates to clean
-- kind:   temporary
-- rule:   duplicate_rows
-- split:  dt
-- reads:  clean.checked_order_events, clean.raw_records, clean.known_ids
-- params: $first_dt, $last_dt, $dedup_days
--
-- A log is delivered at least once, so a row may arrive again, later on its own landing date or on
-- one of the next dates. The rows of one id are sorted by date, then time, then the other columns
-- in the order of the log. Each row is compared with the one before it (C3). A row that fails
-- another check takes no part, so a broken copy cannot replace the good one. Amounts come last once
-- more, as they are spelled: of 8.1 and 8.10 it is always the same one that is kept.
with checked as (
    select *
    from clean.checked_order_events
    where not is_accepted and reject_reason is null
),

records as (
    select row_at, record
    from clean.raw_records
),

-- On earlier dates, it only matters that there was such a row.
before as (
    select dt, event_id
    from checked
    where dt >= $first_dt - $dedup_days and dt < $first_dt
    union all
    select dt, row_id as event_id
    from clean.known_ids
),

candidates as (
    select
        checked.dt, event_id, event_type, event_at, order_id, line_id, buyer_id, store_id,
        amount, currency, product_id, category_id, quantity, country, reason, visitor_id,
        record, is_bad_text, has_own_names, exact_amount, fx_rate, program_amount, true as is_raw
    from checked
    left join records on checked.row_at = records.row_at
    where checked.dt >= $first_dt and checked.dt <= $last_dt
    union all
    select
        dt, event_id, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, null, null, null, false as is_raw
    from before
),

in_order as (
    select
        candidates.*,
        lag(event_id) over content as previous_id,
        lag(dt) over content as previous_dt
    from candidates
    window content as (
        order by
            event_id,
            dt,
            event_at nulls first,
            event_type nulls first,
            order_id nulls first,
            line_id nulls first,
            buyer_id nulls first,
            store_id nulls first,
            try_cast(amount as decimal(76, 38)) nulls first,
            currency nulls first,
            product_id nulls first,
            category_id nulls first,
            quantity nulls first,
            country nulls first,
            reason nulls first,
            visitor_id nulls first,
            record nulls first,
            amount nulls first
    )
)

select
    dt,
    event_id,
    event_type,
    event_at,
    order_id,
    line_id,
    buyer_id,
    store_id,
    amount,
    currency,
    product_id,
    category_id,
    quantity,
    country,
    reason,
    visitor_id,
    record,
    is_bad_text,
    has_own_names,
    exact_amount,
    fx_rate,
    program_amount,
    case when previous_id = event_id and previous_dt >= dt - $dedup_days then 'duplicate' end
        as reject_reason
from in_order
where is_raw
