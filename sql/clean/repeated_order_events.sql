-- Raw order events whose id is there more than once, with the verdict on each.
--
-- grain:  one row per raw row of such an id, of the landing dates to clean
-- kept:   for the run
-- reads:  clean.checked_order_events, clean.repeated_event_ids, clean.order_events, clean.rejects
-- params: $first_dt, $dedup_days
--
-- A log is delivered at least once, so the same row may come again: later on its own
-- landing date or on one of the next dates. The rows of one id are put in order (by date,
-- then time, then content) and each looks at the one before it. Rows that fail another
-- check take no part: a broken copy must not push out the good one.
with repeated as (
    select id_number
    from clean.repeated_event_ids
),

checked as (
    select *
    from clean.checked_order_events
    where not is_settled and reject_reason is null
),

-- Ids that were valid on landing dates that are clean already: those kept, and their
-- duplicates.
known as (
    select dt, event_id from clean.order_events
    union all
    select dt, row_id as event_id
    from clean.rejects
    where log = 'orders' and reason = 'duplicate'
),

candidates as (
    select
        dt, event_id, event_type, event_at, order_id, line_id, buyer_id, store_id,
        amount, currency, product_id, category_id, quantity, country, reason,
        further_columns, exact_amount, fx_rate, program_amount, true as is_raw
    from checked
    union all
    select
        dt, event_id, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, false as is_raw
    from known
    where hash64(event_id) in (select id_number from repeated)
),

in_order as (
    select
        candidates.*,
        lag(dt) over (
            partition by event_id
            order by
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
                array_to_string(further_columns, chr(31), chr(30)) nulls first
        ) as previous_dt
    from candidates
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
    further_columns,
    exact_amount,
    fx_rate,
    program_amount,
    case when previous_dt >= dt - $dedup_days then 'duplicate' end as reject_reason
from in_order
where is_raw and dt >= $first_dt
