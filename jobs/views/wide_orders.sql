-- A shop's order table as order events: one row per order line that says how far it has
-- come.
--
-- It is for exports with a column per step, such as created_at, paid_at, finished_at,
-- cancelled_at and refunded_at. A row is delivered again whenever it has changed, or all
-- rows each day. Copy this file beside your job file, put your own column names in, and
-- name it there:
--
--     [input.orders]
--     path = "raw/order_lines"
--     view = "views/wide_orders.sql"
--
-- Each step that a row has gone through becomes an event. Its id is made of order, line
-- and event type, so an event that is delivered again is known as the same one.
--
-- A row repeats the steps of earlier days, as well. They are left out by the filter at
-- the end. Its 2 days are `late_days` of the job file: change both together. Does your
-- export deliver only rows that have changed? Then put 30 days there: what came too late
-- is rejected, and thereby counted.
--
-- Refunds: a row has the sum of all refunds of its line, and the time of the last one.
-- The id of a refund ends in that sum, so a grown sum is another refund. What it grew by
-- cannot be told from one row, so its amount is the whole sum. That is right
--
-- - for a line that is refunded once, in part or whole;
-- - in the end, for a line that is refunded in parts until nothing is left: a refund gives
--   back at most what is left (rule M1).
--
-- It is too much for a line with several refunds that leave something. Is there a table
-- of single refunds, a row each? Make it a second [[input.orders]] with a view of its own,
-- and leave out the part 'refunded' below; docs/own-logs.md shows how. To see whether you
-- have such lines:
--
--     lookback query job.toml "select order_id, line_id, count(*) as refunds
--         from clean.order_events where event_type = 'refunded'
--         group by order_id, line_id having count(*) > 1"
with events as (
    select
        raw.*,
        'placed' as event_type,
        created_at as event_at,
        line_total as amount,
        null as reason
    from raw
    union all
    select
        raw.*,
        'paid' as event_type,
        paid_at as event_at,
        null as amount,
        null as reason
    from raw
    where paid_at is not null
    union all
    select
        raw.*,
        'completed' as event_type,
        finished_at as event_at,
        null as amount,
        null as reason
    from raw
    where finished_at is not null
    union all
    select
        raw.*,
        'cancelled' as event_type,
        cancelled_at as event_at,
        null as amount,
        cancel_reason as reason
    from raw
    where cancelled_at is not null
    union all
    select
        raw.*,
        'refunded' as event_type,
        refunded_at as event_at,
        refunded_amount as amount,
        refund_reason as reason
    from raw
    where refunded_amount <> 0
)
select
    order_no || '/' || line_no || '/' || event_type || case
        when event_type = 'refunded' then '/' || try_cast(amount as decimal(18, 4))
        else ''
    end as event_id,
    event_type,
    event_at,
    order_no as order_id,
    line_no as line_id,
    customer_id as buyer_id,
    shop_id as store_id,
    amount,
    currency,
    sku as product_id,
    category as category_id,
    quantity,
    ship_country as country,
    reason
from events
where event_at is null or event_at >= dt - interval '2 days'
